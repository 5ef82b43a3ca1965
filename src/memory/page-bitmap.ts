import type { PageNumber } from './address.ts'
import type { PageRange } from './page-range.ts'

const CHUNK_PAGES_LOG2 = 15
const CHUNK_PAGES = 2 ** CHUNK_PAGES_LOG2
const CHUNK_WORDS = CHUNK_PAGES / 32

/**
 * A growing set of pages, one bit each, kept in chunks of 32,768 pages (4 KiB of bits)
 * that exist only where a page was ever added. So a process that reserves terabytes and touches
 * gigabytes costs 32 bytes per MiB touched.
 */
export class PageBitmap {
  readonly #chunks = new Map<number, Uint32Array>()
  #size = 0
  #lastKey = -1
  #lastChunk: Uint32Array | undefined

  #chunk(key: number): Uint32Array | undefined {
    if (key !== this.#lastKey) {
      this.#lastKey = key
      this.#lastChunk = this.#chunks.get(key)
    }
    return this.#lastChunk
  }

  /** How many pages are in the set. */
  get size(): number {
    return this.#size
  }

  has(page: PageNumber): boolean {
    const chunk = this.#chunk(Math.floor(page / CHUNK_PAGES))
    if (chunk === undefined) return false
    const bit = page % CHUNK_PAGES
    return (chunk[bit >>> 5]! & (1 << (bit & 31))) !== 0
  }

  add(page: PageNumber): void {
    const key = Math.floor(page / CHUNK_PAGES)
    let chunk = this.#chunk(key)
    if (chunk === undefined) {
      chunk = new Uint32Array(CHUNK_WORDS)
      this.#chunks.set(key, chunk)
      this.#lastChunk = chunk
    }
    const bit = page % CHUNK_PAGES
    const mask = 1 << (bit & 31)
    if ((chunk[bit >>> 5]! & mask) !== 0) return
    chunk[bit >>> 5]! |= mask
    this.#size++
  }

  delete(page: PageNumber): void {
    const chunk = this.#chunk(Math.floor(page / CHUNK_PAGES))
    const bit = page % CHUNK_PAGES
    const mask = 1 << (bit & 31)
    if (chunk === undefined || (chunk[bit >>> 5]! & mask) === 0) return
    chunk[bit >>> 5]! &= ~mask
    this.#size--
  }

  hasAny(range: PageRange): boolean {
    return this.within(range).next().done !== true
  }

  /** The members within `range`, ascending. Costs a step per 32 pages where there are none, less where no chunk is. */
  *within(range: PageRange): Generator<PageNumber> {
    let page: number = range.start
    while (page < range.end) {
      const chunk = this.#chunk(Math.floor(page / CHUNK_PAGES))
      const bit = page % CHUNK_PAGES
      if (chunk === undefined) page += CHUNK_PAGES - bit
      else if ((bit & 31) === 0 && chunk[bit >>> 5] === 0) page += 32
      else {
        if ((chunk[bit >>> 5]! & (1 << (bit & 31))) !== 0) yield page as PageNumber
        page++
      }
    }
  }
}
