import { addressOf, type PageNumber, type PageShift } from '../memory/address.ts'
import { PAGE_STATES, PageTrait, type PageCounts, type PageRanges, type PageStateName } from './report.ts'

const STATE_MASK = 0xff
const code = (state: PageStateName): number => PAGE_STATES.indexOf(state)

/** The states as small numbers, as hot loops take them. */
export const State = {
  mapped: code('mapped'), zero: code('zero'), cached: code('cached'), swapped: code('swapped'), fallocated: code('fallocated'), hole: code('hole'),
  uncached: code('uncached'), guard: code('guard'), poisoned: code('poisoned'), pastEnd: code('pastEnd'), special: code('special'), unknown: code('unknown'),
} as const

/** Counts a mapping's pages as they are told, in ascending order, and keeps their ranges when asked to. */
export class Tally {
  readonly #counts = new Float64Array(PAGE_STATES.length)
  readonly #ranges: RangeColumns | undefined
  #file = 0
  #huge = 0
  #written = 0

  constructor(ranges: 'ranges' | 'counts') {
    this.#ranges = ranges === 'ranges' ? new RangeColumns() : undefined
  }

  /** Pages `start` up to `end` are `state`, one of {@link State} with {@link PageTrait}s. */
  add(start: number, end: number, state: number): void {
    const pages = end - start
    this.#counts[state & STATE_MASK]! += pages
    if ((state & PageTrait.file) !== 0) this.#file += pages
    if ((state & PageTrait.huge) !== 0) this.#huge += pages
    if ((state & PageTrait.written) !== 0) this.#written += pages
    this.#ranges?.add(start, end, state)
  }

  pages(state: number): number {
    return this.#counts[state]!
  }

  counts(tracked: boolean): PageCounts {
    const counts = this.#counts
    const mappedPages = counts[State.mapped]!
    return {
      pages: counts.reduce((sum, pages) => sum + pages, 0), mappedPages, zeroPages: counts[State.zero]!, cachedPages: counts[State.cached]!,
      swappedPages: counts[State.swapped]!, fallocatedPages: counts[State.fallocated]!, holePages: counts[State.hole]!, uncachedPages: counts[State.uncached]!,
      guardPages: counts[State.guard]!, poisonedPages: counts[State.poisoned]!, pastEndPages: counts[State.pastEnd]!, specialPages: counts[State.special]!,
      unknownPages: counts[State.unknown]!, anonPages: mappedPages - this.#file, filePages: this.#file, hugePages: this.#huge,
      ...(tracked && { writtenPages: this.#written }),
    }
  }

  ranges(shift: PageShift): PageRanges | undefined {
    return this.#ranges?.finish(shift)
  }
}

/** Sums of several mappings. */
export function sumCounts(all: readonly PageCounts[]): PageCounts {
  const sum: { -readonly [Name in keyof PageCounts]: PageCounts[Name] } = new Tally('counts').counts(false)
  const names = Object.keys(sum) as (keyof PageCounts)[]
  for (const counts of all) {
    for (const name of names) sum[name]! += counts[name]!
    if (counts.writtenPages !== undefined) sum.writtenPages = (sum.writtenPages ?? 0) + counts.writtenPages
  }
  return sum
}

/** Growing columns: a million ranges are 18 MB here, and would be ten times that as objects. */
class RangeColumns {
  #starts = new Float64Array(8)
  #ends = new Float64Array(8)
  #states = new Uint16Array(8)
  #length = 0

  add(start: number, end: number, state: number): void {
    const last = this.#length - 1
    if (last >= 0 && this.#ends[last] === start && this.#states[last] === state) {
      this.#ends[last] = end
      return
    }
    if (this.#length === this.#starts.length) this.#grow()
    this.#starts[this.#length] = start
    this.#ends[this.#length] = end
    this.#states[this.#length] = state
    this.#length++
  }

  #grow(): void {
    const [starts, ends, states] = [this.#starts, this.#ends, this.#states]
    this.#starts = new Float64Array(2 * starts.length)
    this.#ends = new Float64Array(2 * ends.length)
    this.#states = new Uint16Array(2 * states.length)
    this.#starts.set(starts)
    this.#ends.set(ends)
    this.#states.set(states)
  }

  finish(shift: PageShift): PageRanges {
    const bounds = new BigUint64Array(2 * this.#length)
    for (let i = 0; i < this.#length; i++) {
      bounds[2 * i] = addressOf(this.#starts[i] as PageNumber, shift)
      bounds[2 * i + 1] = addressOf(this.#ends[i] as PageNumber, shift)
    }
    return { bounds, states: this.#states.slice(0, this.#length) }
  }
}
