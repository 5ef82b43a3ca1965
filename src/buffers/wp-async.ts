import type { PageNumber } from '../memory/address.ts'
import { isFileBacked } from '../memory/mapping.ts'
import { PageBitmap } from '../memory/page-bitmap.ts'
import { intersection, type PageRange } from '../memory/page-range.ts'
import type { RegionList } from '../memory/region-list.ts'
import type { OwnMemory } from '../kernel/own-memory.ts'
import type { Marks } from './marks.ts'
import type { SharedMarks, Sharer } from './shared-marks.ts'
import { RangeCollector, type WrittenRanges } from './written-ranges.ts'

/**
 * wp-async on pages of our own: the kernel takes a page's mark away at its first write (about 1 µs) whoever makes it: this thread,
 * a worker, WebAssembly, or the kernel in read(2). The pages at both ends are registered whole, with what else lies on them.
 *
 * A write that comes after a page's mark was set again is a written page the next time, so a page is always copied after that.
 */
export class WpAsyncMarks implements Marks, Sharer {
  readonly tracker = 'wp-async'
  readonly #memory: OwnMemory
  readonly #shared: SharedMarks
  /** Written pages that the kernel does not know as such any more, or never did. */
  #pending = new PageBitmap()
  #isMarked = false
  #address = 0
  #length = 0
  #range: PageRange = { start: 0 as PageNumber, end: 0 as PageNumber }

  private constructor(memory: OwnMemory, shared: SharedMarks, bytes: Uint8Array) {
    this.#memory = memory
    this.#shared = shared
    this.#place(bytes)
  }

  /** A text says why the buffer cannot be followed so. Until the first mark all of it counts as written. */
  static create(memory: OwnMemory, shared: SharedMarks, bytes: Uint8Array): WpAsyncMarks | string {
    const marks = new WpAsyncMarks(memory, shared, bytes)
    return marks.#objection() ?? shared.join(marks) ?? marks
  }

  get range(): PageRange {
    return this.#range
  }

  #place(bytes: Uint8Array): void {
    this.#address = this.#memory.addressOf(bytes)
    this.#length = bytes.length
    this.#range = { start: this.#pageAt(0), end: this.#length === 0 ? this.#pageAt(0) : (this.#pageAt(this.#length - 1) + 1) as PageNumber }
  }

  #pageAt(offset: number): PageNumber {
    return Math.floor((this.#address + offset) / 2 ** this.#memory.pageShift) as PageNumber
  }

  /** Other processes, and write(2) to the file, write such memory without our page tables. */
  #objection(): string | undefined {
    const isShared = this.#memory.mappings().some((mapping) => (mapping.shared || isFileBacked(mapping)) && intersection(mapping, this.#range) !== undefined)
    return isShared ? 'its memory is a file\'s or shared with other processes' : undefined
  }

  follow(bytes: Uint8Array): string | undefined {
    const address = this.#memory.addressOf(bytes)
    if (address === this.#address && bytes.length === this.#length && this.#shared.isRegistered(this.#range)) return undefined
    const [before, oldLength, moved] = [this.#range, this.#length, address !== this.#address]
    this.#place(bytes)
    if (moved) return this.#startAnew(before)
    if (this.#range.end < before.end) this.#shared.release({ start: this.#range.end, end: before.end })
    for (let page: number = this.#pageAt(oldLength); page < this.#range.end; page++) this.#pending.add(page as PageNumber)
    return this.#shared.register(this, { start: before.end, end: this.#range.end })
  }

  #startAnew(before: PageRange): string | undefined {
    this.loseMarks()
    this.#shared.release(before)
    return this.#objection() ?? this.#shared.register(this, this.#range)
  }

  addWritten(regions: RegionList): void {
    const { start, end } = this.#range
    for (let i = 0; i < regions.length; i++) {
      const to = Math.min(end, regions.ends[i]!)
      for (let page = Math.max(start, regions.starts[i]!); page < to; page++) this.#pending.add(page as PageNumber)
    }
  }

  loseMarks(): void {
    this.#isMarked = false
  }

  mark(): void {
    this.#shared.take(this, () => {})
    this.#setMarked()
  }

  #setMarked(): void {
    this.#isMarked = true
    if (this.#pending.size > 0) this.#pending = new PageBitmap()
  }

  written(): WrittenRanges {
    return this.#isMarked ? this.#collect('peek') : this.#everything()
  }

  copyWritten(bytes: Uint8Array, into: Uint8Array): WrittenRanges {
    const wasMarked = this.#isMarked
    const taken = this.#collect('take')
    const ranges = wasMarked ? taken : this.#everything()
    this.loseMarks() // Until the copy is whole.
    for (const { start, end } of ranges) into.set(bytes.subarray(start, end), start)
    this.#setMarked()
    return ranges
  }

  #everything(): WrittenRanges {
    const ranges = new RangeCollector()
    if (this.#length > 0) ranges.add(0, this.#length)
    return ranges.finish()
  }

  #collect(how: 'peek' | 'take'): WrittenRanges {
    const ranges = new RangeCollector()
    if (this.#pending.size === 0) {
      this.#shared[how](this, (found) => {
        for (let i = 0; i < found.length; i++) this.#addPages(found.starts[i]!, found.ends[i]!, ranges)
      })
    } else {
      this.#shared[how](this, (found) => this.addWritten(found))
      for (const page of this.#pending.within(this.#range)) this.#addPages(page, page + 1, ranges)
    }
    return ranges.finish()
  }

  /** The part of the pages that is the buffer's. */
  #addPages(start: number, end: number, ranges: RangeCollector): void {
    const pageBytes = 2 ** this.#memory.pageShift
    ranges.add(Math.max(0, start * pageBytes - this.#address), Math.min(this.#length, end * pageBytes - this.#address))
  }

  [Symbol.dispose](): void {
    this.#shared.leave(this)
  }
}
