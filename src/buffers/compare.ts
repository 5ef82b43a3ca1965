import type { OwnMemory } from '../kernel/own-memory.ts'
import type { Marks } from './marks.ts'
import { RangeCollector, type WrittenRanges } from './written-ranges.ts'

/** Compared at once before the pages one by one: most of a buffer is as it was. */
const PAGES_AT_ONCE = 16

/**
 * compare: the mark is a copy of the contents, and written is what differs from it, page by page of the buffer. It works
 * everywhere, costs the buffer's size once more and a pass over both, and does not see a write that changed nothing.
 */
export class CompareMarks implements Marks {
  readonly tracker = 'compare'
  readonly #memory: OwnMemory
  readonly #pageBytes: number
  /** The contents at the mark; shorter than the buffer where it has grown since, and empty before the first. */
  #marked = new Uint8Array(0)

  constructor(memory: OwnMemory) {
    this.#memory = memory
    this.#pageBytes = 2 ** memory.pageShift
  }

  follow(): undefined {
    return undefined
  }

  mark(bytes: Uint8Array): void {
    if (this.#marked.length !== bytes.length) this.#marked = new Uint8Array(bytes.length)
    this.#marked.set(bytes)
  }

  written(bytes: Uint8Array): WrittenRanges {
    const ranges = new RangeCollector()
    const step = PAGES_AT_ONCE * this.#pageBytes
    for (let start = 0; start < bytes.length; start += step) {
      const end = Math.min(bytes.length, start + step)
      if (this.#differs(bytes, start, end)) this.#findPages(bytes, start, end, ranges)
    }
    return ranges.finish()
  }

  #findPages(bytes: Uint8Array, from: number, to: number, ranges: RangeCollector): void {
    for (let start = from; start < to; start += this.#pageBytes) {
      const end = Math.min(to, start + this.#pageBytes)
      if (this.#differs(bytes, start, end)) ranges.add(start, end)
    }
  }

  #differs(bytes: Uint8Array, start: number, end: number): boolean {
    return end > this.#marked.length || this.#memory.differ(bytes, this.#marked, start, end)
  }

  /** Goes by way of the mark: what another thread writes meanwhile is then in both copies or differs from the mark the next time. */
  copyWritten(bytes: Uint8Array, into: Uint8Array): WrittenRanges {
    const ranges = this.written(bytes)
    this.#fit(bytes.length)
    for (const { start, end } of ranges) {
      this.#marked.set(bytes.subarray(start, end), start)
      into.set(this.#marked.subarray(start, end), start)
    }
    return ranges
  }

  #fit(length: number): void {
    if (this.#marked.length === length) return
    const marked = new Uint8Array(length)
    marked.set(this.#marked.subarray(0, length))
    this.#marked = marked
  }

  [Symbol.dispose](): void {
    this.#marked = new Uint8Array(0)
  }
}
