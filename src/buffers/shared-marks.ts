import type { PageNumber } from '../memory/address.ts'
import { intersection, type PageRange } from '../memory/page-range.ts'
import { RegionList } from '../memory/region-list.ts'
import { isTidemarkError } from '../kernel/errors.ts'
import type { OwnMemory, OwnTracking } from '../kernel/own-memory.ts'
import { PageState, type ScanQuery } from '../kernel/page-tables.ts'

/** As many as one call of the kernel reports. */
const REGIONS_AT_ONCE = 2048

/**
 * The kernel's fast path. Nothing is asked about being populated: in a registered mapping a page that is not there reads
 * written, and is given a mark like any other. So memory that was discarded (MADV_DONTNEED) reads written too.
 */
const WRITTEN: ScanQuery = { all: PageState.written, none: 0, any: 0, report: PageState.written, protect: false, trackedOnly: false }
const TAKE_WRITTEN: ScanQuery = { ...WRITTEN, protect: true }
const MARKED: ScanQuery = { all: 0, none: PageState.written, any: PageState.present | PageState.swapped, report: 0, protect: false, trackedOnly: true }
/** Matches nothing in a registered mapping without looking at its pages (pagemap_scan_test_walk(), Linux 6.18), and stops at any other. */
const NOT_REGISTERED: ScanQuery = { all: 0, none: PageState.protectable, any: 0, report: 0, protect: false, trackedOnly: true }

/** Who has marks on some pages. The kernel keeps one mark for each page, so whoever takes what was written tells the others. */
export interface Sharer {
  readonly range: PageRange
  /** Pages of the range were written, another sharer took them, and their marks are set anew. */
  addWritten(regions: RegionList): void
  /** Which pages were written is not known any more: all may have been. */
  loseMarks(): void
}

/**
 * The one userfaultfd of a thread, shared by all its trackers: a mapping belongs to one context at most (EBUSY). It is
 * opened for the first sharer and closed after the last, which leaves nothing behind.
 */
export class SharedMarks {
  readonly #memory: OwnMemory
  readonly #sharers = new Set<Sharer>()
  readonly #found = new RegionList(REGIONS_AT_ONCE)
  #tracking: OwnTracking | undefined

  constructor(memory: OwnMemory) {
    this.#memory = memory
  }

  /** Registers a new sharer's range. A text says why that cannot be. */
  join(sharer: Sharer): string | undefined {
    if (this.#tracking === undefined) {
      const opened = this.#memory.openTracking()
      if (typeof opened === 'string') return opened
      this.#tracking = opened
    }
    const refusal = this.register(sharer, sharer.range)
    if (refusal === undefined) this.#sharers.add(sharer)
    else this.#closeUnused()
    return refusal
  }

  /**
   * Ends a sharer's marks. Its memory may be freed by now, and other memory may be there, unregistered or of another sharer:
   * the first the kernel skips, the second is left out here.
   */
  leave(sharer: Sharer): void {
    this.#sharers.delete(sharer)
    this.release(sharer.range)
    this.#closeUnused()
  }

  #closeUnused(): void {
    if (this.#sharers.size > 0) return
    this.#tracking?.[Symbol.dispose]()
    this.#tracking = undefined
  }

  /**
   * Registers a sharer's range. What is registered already keeps its marks; those on the pages of `fresh`, the part that the sharer
   * has not had before, are of others. A text says why it cannot be.
   */
  register(sharer: Sharer, fresh: PageRange): string | undefined {
    const { range } = sharer
    if (range.start === range.end) return undefined
    const outcome = this.#tryRegister(range)
    if (outcome === 'owned') return 'another userfaultfd has the memory, such as a tracker of another thread'
    if (outcome === undefined) return 'the kernel has no room to register it (vm.max_map_count)'
    if (outcome !== 'registered') return 'memory of its kind cannot be registered with userfaultfd'
    this.#clearStale(sharer, fresh)
    return undefined
  }

  /** `undefined` where the kernel fails: ENOMEM when there are too many mappings to split one. */
  #tryRegister(range: PageRange): 'registered' | 'owned' | 'refused' | 'gone' | undefined {
    try {
      return this.#tracking!.userfault.register(range)
    } catch (error) {
      if (!isTidemarkError(error)) throw error
      return undefined
    }
  }

  /** A mark that another userfaultfd left behind, such as that of a snapshot of this process, would hide the next write. */
  #clearStale(sharer: Sharer, range: PageRange): void {
    const isShared = [...this.#sharers].some((other) => other !== sharer && intersection(other.range, range) !== undefined)
    if (range.start >= range.end || isShared || this.#scan(range, MARKED) === 'nothing') return
    this.#tracking!.userfault.unprotect(range)
  }

  /** Unregisters what no sharer has. */
  release(range: PageRange): void {
    const kept = [...this.#sharers].flatMap(({ range: other }) => intersection(range, other) ?? []).toSorted((a, b) => a.start - b.start)
    let start = range.start
    for (const { start: from, end } of [...kept, { start: range.end, end: range.end }]) {
      if (from > start) this.#tracking?.userfault.unregister({ start, end: from })
      if (end > start) start = end
    }
  }

  /** Whether all mappings of the range are registered still: memory that was replaced is not, even at the same address. */
  isRegistered(range: PageRange): boolean {
    return range.start === range.end || this.#scan(range, NOT_REGISTERED) !== 'untracked'
  }

  #scan(range: PageRange, query: ScanQuery): 'nothing' | 'something' | 'untracked' {
    this.#found.clear()
    const outcome = this.#tracking!.pageTables.scan(range, query, this.#found)
    if (outcome.kind === 'untracked') return 'untracked'
    return this.#found.length === 0 ? 'nothing' : 'something'
  }

  /** Tells of the pages of a sharer that were written since their marks, in ascending order. */
  peek(sharer: Sharer, each: (found: RegionList) => void): void {
    this.#walk(sharer.range, WRITTEN, each)
  }

  /** As {@link peek}, and sets the marks again in the same step. What fails in the middle (no memory) loses no write. */
  take(sharer: Sharer, each: (found: RegionList) => void): void {
    const others = [...this.#sharers].filter((other) => other !== sharer && intersection(other.range, sharer.range) !== undefined)
    try {
      this.#walk(sharer.range, TAKE_WRITTEN, (found) => {
        for (const other of others) other.addWritten(found)
        each(found)
      })
    } catch (error) {
      for (const one of [sharer, ...others]) one.loseMarks()
      throw error
    }
  }

  #walk(range: PageRange, query: ScanQuery, each: (found: RegionList) => void): void {
    for (let start = range.start; start < range.end;) {
      this.#found.clear()
      const outcome = this.#tracking!.pageTables.scan({ start, end: range.end }, query, this.#found)
      if (this.#found.length > 0) each(this.#found)
      start = outcome.kind === 'full' ? outcome.next : range.end as PageNumber
    }
  }
}
