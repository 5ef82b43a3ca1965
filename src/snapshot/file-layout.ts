import type { PageNumber } from '../memory/address.ts'
import type { PageRange } from '../memory/page-range.ts'
import { assert } from '../kernel/errors.ts'

/** A stretch of address space and where its pages go in the file. */
export interface Extent extends PageRange {
  readonly fileOffset: number
}

/** Beyond this a mapping gets room only around the pages it has: a file of terabytes of holes is past what file systems hold. */
const WHOLE_PAGES_MAX = 2 ** 24
const PIECE_PAGES = 2 ** 18

/**
 * Gives every page of the target one place in the file, for good, although mappings come, grow, split and
 * merge while we write. Extents never overlap and never move; the last in the file ends at {@link fileBytes}.
 */
export class FileLayout {
  readonly #pageBytes: number
  /** In address order. */
  readonly #extents: Extent[] = []
  #fileBytes: number
  #last: Extent | undefined

  constructor(pageBytes: number, firstOffset: number) {
    this.#pageBytes = pageBytes
    this.#fileBytes = firstOffset
  }

  get fileBytes(): number {
    return this.#fileBytes
  }

  /** Whether a mapping is small enough to have room as a whole. */
  fits(mapping: PageRange): boolean {
    return mapping.end - mapping.start <= WHOLE_PAGES_MAX
  }

  /** Makes sure that `pages`, which lie within `mapping`, have a place, and the rest of the mapping too unless it is vast. */
  reserve(mapping: PageRange, pages: PageRange): void {
    const vast = !this.fits(mapping)
    const start = vast ? Math.max(mapping.start, pages.start - (pages.start % PIECE_PAGES)) : mapping.start
    const end = vast ? Math.min(mapping.end, Math.ceil(pages.end / PIECE_PAGES) * PIECE_PAGES) : mapping.end
    if (this.#last !== undefined && this.#last.start <= start && end <= this.#last.end) return
    this.#fillGaps(start as PageNumber, end as PageNumber)
  }

  #fillGaps(start: PageNumber, end: PageNumber): void {
    let at = start
    while (at < end) {
      const index = this.#firstEndingAfter(at)
      const next = this.#extents[index]
      if (next !== undefined && next.start <= at) {
        at = next.end
        continue
      }
      const stop = next !== undefined && next.start < end ? next.start : end
      this.#extents.splice(index, 0, { start: at, end: stop, fileOffset: this.#fileBytes })
      this.#fileBytes += (stop - at) * this.#pageBytes
      at = stop
    }
  }

  /** The extent that holds a page which was reserved. */
  extentOf(page: PageNumber): Extent {
    const last = this.#last
    if (last !== undefined && last.start <= page && page < last.end) return last
    const extent = this.#extents[this.#firstEndingAfter(page)]
    assert(extent !== undefined && extent.start <= page, 'a page has a place before it is written')
    this.#last = extent
    return extent
  }

  /** The extents within a range, cut to it, in address order, those that are neighbours in the file too joined. */
  within(range: PageRange): Extent[] {
    const found: Extent[] = []
    for (let i = this.#firstEndingAfter(range.start); i < this.#extents.length; i++) {
      const extent = this.#extents[i]!
      if (extent.start >= range.end) break
      const start = extent.start > range.start ? extent.start : range.start
      const cut = { start, end: extent.end < range.end ? extent.end : range.end, fileOffset: extent.fileOffset + (start - extent.start) * this.#pageBytes }
      const before = found.at(-1)
      if (before !== undefined && before.end === cut.start && before.fileOffset + (before.end - before.start) * this.#pageBytes === cut.fileOffset) {
        found[found.length - 1] = { ...before, end: cut.end }
      } else found.push(cut)
    }
    return found
  }

  #firstEndingAfter(page: PageNumber): number {
    let low = 0
    let high = this.#extents.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#extents[middle]!.end > page) high = middle
      else low = middle + 1
    }
    return low
  }
}
