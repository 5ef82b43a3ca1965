import type { PageNumber } from '../memory/address.ts'
import { PageBitmap } from '../memory/page-bitmap.ts'
import type { PageRange } from '../memory/page-range.ts'
import type { Block } from '../kernel/block.ts'
import type { PageSink } from '../kernel/output.ts'
import type { FileLayout } from './file-layout.ts'

/**
 * Puts pages at their final place in the file. Pages of zeros stay holes, unless an earlier round
 * stored something else there.
 */
export class PageFile {
  readonly #layout: FileLayout
  readonly #output: PageSink
  readonly #pageBytes: number
  /** Pages the image holds, and those of them that are not zero. */
  readonly #held = new PageBitmap()
  readonly #stored = new PageBitmap()
  #writtenBytes = 0

  constructor(layout: FileLayout, output: PageSink, pageBytes: number) {
    this.#layout = layout
    this.#output = output
    this.#pageBytes = pageBytes
  }

  get heldPages(): number {
    return this.#held.size
  }

  get zeroPages(): number {
    return this.#held.size - this.#stored.size
  }

  get writtenBytes(): number {
    return this.#writtenBytes
  }

  /** Stores `count` pages from `from` on, whose contents lie one after the other in the block. */
  store(mapping: PageRange, start: number, count: number, block: Block, at: number): void {
    this.#layout.reserve(mapping, { start: start as PageNumber, end: (start + count) as PageNumber })
    const words = new Int32Array(block.bytes.buffer, block.bytes.byteOffset + at, (count * this.#pageBytes) / 4)
    let run = 0
    for (let i = 0; i < count; i++) {
      const page = (start + i) as PageNumber
      const zero = this.#isZero(words, i)
      this.#held.add(page)
      if (zero && !this.#stored.has(page)) {
        this.#write(start, run, i, block, at)
        run = i + 1
      } else if (zero) this.#stored.delete(page)
      else this.#stored.add(page)
    }
    this.#write(start, run, count, block, at)
  }

  #isZero(words: Int32Array, index: number): boolean {
    const size = this.#pageBytes / 4
    const start = index * size
    for (let i = start, end = start + size; i < end; i += 4) {
      if ((words[i]! | words[i + 1]! | words[i + 2]! | words[i + 3]!) !== 0) return false
    }
    return true
  }

  /** Pages `from` up to `to` of a run that starts at page `start`; a run may cross from one extent into the next. */
  #write(start: number, from: number, to: number, block: Block, at: number): void {
    while (from < to) {
      const page = (start + from) as PageNumber
      const extent = this.#layout.extentOf(page)
      const pages = Math.min(to - from, extent.end - page)
      const fileOffset = extent.fileOffset + (page - extent.start) * this.#pageBytes
      this.#output.write(block, at + from * this.#pageBytes, pages * this.#pageBytes, fileOffset)
      this.#writtenBytes += pages * this.#pageBytes
      from += pages
    }
  }

  holdsAny(range: PageRange): boolean {
    return this.#held.hasAny(range)
  }

  /** Makes pages of the range that an earlier round stored read as zeros again: the target has dropped them. */
  erase(range: PageRange, zeros: Block): void {
    for (const page of this.#held.within(range)) {
      if (this.#stored.has(page)) this.#write(page, 0, 1, zeros, 0)
      this.#stored.delete(page)
      this.#held.delete(page)
    }
  }
}
