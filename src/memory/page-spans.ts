import type { PageShift } from './address.ts'
import type { RegionList } from './region-list.ts'

const EVERYTHING = { start: 0, end: Infinity }

/** Page ranges as they are found, however many: ascending, merged where they touch. Emptied and filled again without allocating. */
export class PageSpans {
  starts = new Float64Array(64)
  ends = new Float64Array(64)
  length = 0
  #sorted = true

  clear(): void {
    this.length = 0
    this.#sorted = true
  }

  /** A range that begins before the last one is put in order by {@link sort}. */
  add(start: number, end: number): void {
    if (start >= end) return
    const last = this.length - 1
    if (last >= 0 && start <= this.ends[last]! && start >= this.starts[last]!) {
      if (end > this.ends[last]!) this.ends[last] = end
      return
    }
    if (this.length === this.starts.length) this.#grow()
    if (last >= 0 && start < this.starts[last]!) this.#sorted = false
    this.starts[this.length] = start
    this.ends[this.length] = end
    this.length++
  }

  /** Regions mostly come in order and apart: then they are only copied. */
  addRegions({ starts, ends, length }: RegionList): void {
    while (this.length + length > this.starts.length) this.#grow()
    const { starts: toStarts, ends: toEnds } = this
    let to = this.length
    let lastEnd = to === 0 ? -1 : toEnds[to - 1]!
    for (let i = 0; i < length; i++) {
      const start = starts[i]!
      const end = ends[i]!
      if (start > lastEnd && start < end) {
        toStarts[to] = start
        toEnds[to] = end
        to++
        lastEnd = end
      } else {
        this.length = to
        this.add(start, end)
        to = this.length
        lastEnd = to === 0 ? -1 : toEnds[to - 1]!
      }
    }
    this.length = to
  }

  /** The ranges of another, moved by so many pages, as far as they lie within bounds. */
  addSpans(other: PageSpans, shift = 0, within: { readonly start: number; readonly end: number } = EVERYTHING): void {
    for (let i = 0; i < other.length; i++) this.add(Math.max(other.starts[i]! + shift, within.start), Math.min(other.ends[i]! + shift, within.end))
  }

  /** Whether the page is in one of the ranges. Precondition: sorted. */
  has(page: number): boolean {
    let low = 0
    let high = this.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.ends[middle]! <= page) low = middle + 1
      else high = middle
    }
    return low < this.length && this.starts[low]! <= page
  }

  /** Puts ranges that were added out of order in order, and merges them. */
  sort(): this {
    if (this.#sorted) return this
    const order = Array.from({ length: this.length }, (_, i) => i).sort((a, b) => this.starts[a]! - this.starts[b]!)
    const starts = order.map((i) => this.starts[i]!)
    const ends = order.map((i) => this.ends[i]!)
    this.clear()
    for (let i = 0; i < starts.length; i++) this.add(starts[i]!, ends[i]!)
    return this
  }

  /** Leaves only what lies in one of the ranges, which are ascending. Precondition: sorted. */
  keepWithin(ranges: readonly { readonly start: number; readonly end: number }[]): void {
    const kept = new PageSpans()
    let i = 0
    for (const range of ranges) {
      while (i < this.length && this.ends[i]! <= range.start) i++
      for (let j = i; j < this.length && this.starts[j]! < range.end; j++) kept.add(Math.max(range.start, this.starts[j]!), Math.min(range.end, this.ends[j]!))
    }
    this.clear()
    this.addSpans(kept)
  }

  pageCount(): number {
    let pages = 0
    for (let i = 0; i < this.length; i++) pages += this.ends[i]! - this.starts[i]!
    return pages
  }

  /** Byte addresses, start and end of each range. Computed in halves: a BigInt for each would be eighteen times as slow. */
  toAddresses(shift: PageShift): BigUint64Array {
    const addresses = new BigUint64Array(this.length * 2)
    const halves = new Uint32Array(addresses.buffer)
    const low = 2 ** (32 - shift)
    const pageBytes = 2 ** shift
    for (let i = 0; i < this.length; i++) {
      const start = this.starts[i]!
      const end = this.ends[i]!
      const startHigh = Math.floor(start / low)
      const endHigh = Math.floor(end / low)
      halves[4 * i] = (start - startHigh * low) * pageBytes
      halves[4 * i + 1] = startHigh
      halves[4 * i + 2] = (end - endHigh * low) * pageBytes
      halves[4 * i + 3] = endHigh
    }
    return addresses
  }

  #grow(): void {
    const starts = new Float64Array(this.starts.length * 2)
    const ends = new Float64Array(this.ends.length * 2)
    starts.set(this.starts)
    ends.set(this.ends)
    this.starts = starts
    this.ends = ends
  }
}
