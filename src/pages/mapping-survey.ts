import type { PageNumber, PageShift } from '../memory/address.ts'
import { isFileBacked, type Mapping } from '../memory/mapping.ts'
import type { PageRange } from '../memory/page-range.ts'
import { RegionList } from '../memory/region-list.ts'
import type { AddressSpace, FlaggedDetail, MappedObject } from '../kernel/address-space.ts'
import { TidemarkError } from '../kernel/errors.ts'
import { AbsentEntry, PageState, type ScanOutcome, type ScanQuery } from '../kernel/page-tables.ts'
import { hasPageTables, kindOf } from './mapping-kind.ts'
import { ObjectStates } from './object-states.ts'
import { PageTrait, type MappingKind } from './report.ts'
import { State, type Tally } from './tally.ts'
import { isOwned } from './tracker.ts'

const COUNTED_REGIONS = 1024
const SOMETHING = PageState.present | PageState.swapped | PageState.guard
const QUERY: ScanQuery = {
  all: 0, none: 0, any: SOMETHING,
  report: SOMETHING | PageState.file | PageState.zero | PageState.huge | PageState.written, protect: false, trackedOnly: false,
  pagesAtOnce: 16_384,
}
const ABSENT: ScanQuery = { ...QUERY, all: PageState.swapped, none: PageState.guard, any: 0, report: PageState.swapped }

export type SurveyedFlags = Pick<FlaggedDetail, 'flags' | 'swapBytes'>

export interface SurveyContext {
  readonly space: AddressSpace
  readonly shift: PageShift
  /** Gives up by throwing. */
  readonly checkAborted: () => void
  /** Room for what scans find, used by one mapping after the other. */
  readonly regions: RegionList
  readonly entries: RegionList
}

/**
 * Tells what each page of one mapping is: from the page tables what is there; from the entries themselves what is absent and not
 * nothing; from the object behind the mapping the rest. Reads no memory of the target, so it brings no page in.
 */
export class MappingSurvey {
  readonly kind: MappingKind
  /** Whether a userfaultfd follows writes to it now: elsewhere every page reads as written (Linux 6.18). */
  readonly tracked: boolean
  readonly #mapping: Mapping
  readonly #detail: SurveyedFlags
  readonly #tally: Tally
  readonly #context: SurveyContext
  readonly #regions: RegionList
  readonly #entries: RegionList
  readonly #rest: RestOfMapping
  /** What entries are that look swapped to us, who may not know more. */
  #hiddenAre: 'swap' | 'markers' | 'unknown' | undefined

  constructor(mapping: Mapping, detail: SurveyedFlags, tally: Tally, context: SurveyContext) {
    this.#mapping = mapping
    this.#detail = detail
    this.#tally = tally
    this.#context = context
    this.#regions = context.regions
    this.#entries = context.entries
    this.kind = kindOf(mapping, detail.flags, () => context.space.object(mapping))
    this.tracked = detail.flags.has('uw')
    this.#rest = new RestOfMapping(mapping, this.kind, context, tally)
  }

  run(): void {
    const { start, end } = this.#mapping
    if (!hasPageTables(this.#mapping, this.#detail.flags)) {
      this.#tally.add(start, end, State.special)
      return
    }
    if (this.kind === 'hugetlb') this.#rest.hugetlbMapped = this.#countPages({ ...QUERY, any: PageState.present, report: PageState.present })
    for (let from: PageNumber = start; from < end;) {
      this.#context.checkAborted()
      this.#regions.clear()
      const outcome = this.#context.space.pageTables.scan({ start: from, end }, QUERY, this.#regions)
      const upTo = nextOf(outcome, end, this.#context.space.pid)
      this.#tellWindow(from, upTo)
      from = upTo
    }
  }

  /** What could not be told, in words. */
  get untold(): string | undefined {
    const why = this.#rest.untold
    if (why !== undefined) return why
    return this.#hiddenAre === 'unknown' ? 'pages in swap look like marks of a userfaultfd where no page is: only CAP_SYS_ADMIN is told which' : undefined
  }

  #tellWindow(from: number, upTo: number): void {
    const { starts, ends, states, length } = this.#regions
    let at = from
    for (let i = 0; i < length; i++) {
      const [start, end] = [starts[i]!, ends[i]!]
      if (start > at) this.#rest.tell(at, start)
      this.#tellRegion(start, end, states[i]!)
      at = end
    }
    if (upTo > at) this.#rest.tell(at, upTo)
  }

  #tellRegion(start: number, end: number, state: number): void {
    const written = this.tracked && (state & PageState.written) !== 0 ? PageTrait.written : 0
    if ((state & PageState.present) === 0) {
      if ((state & PageState.guard) !== 0) this.#tally.add(start, end, State.guard)
      else if (this.kind === 'hugetlb') this.#rest.tell(start, end) // Never in swap: a marker.
      else this.#tellAbsent(start, end, written)
    } else if ((state & PageState.zero) !== 0) this.#tally.add(start, end, State.zero)
    else {
      const traits = ((state & PageState.file) !== 0 ? PageTrait.file : 0) | ((state & PageState.huge) !== 0 ? PageTrait.huge : 0)
      this.#tally.add(start, end, State.mapped | traits | written)
    }
  }

  #tellAbsent(from: number, end: number, written: number): void {
    let at = from
    while (at < end) {
      this.#entries.clear()
      const outcome = this.#context.space.pageTables.absent({ start: at as PageNumber, end: end as PageNumber }, this.#entries)
      const upTo = nextOf(outcome, end as PageNumber, this.#context.space.pid)
      for (let i = 0; i < this.#entries.length; i++) {
        const [start, stop] = [this.#entries.starts[i]!, this.#entries.ends[i]!]
        if (start > at) this.#rest.tell(at, start) // Gone since the scan.
        this.#tellEntry(start, stop, this.#entries.states[i]!, written)
        at = stop
      }
      if (upTo > at) this.#rest.tell(at, upTo)
      at = upTo
    }
  }

  #tellEntry(start: number, end: number, entry: number, written: number): void {
    switch (entry) {
      case AbsentEntry.guard: return this.#tally.add(start, end, State.guard)
      case AbsentEntry.poisoned: return this.#tally.add(start, end, State.poisoned)
      case AbsentEntry.moving: return this.#tally.add(start, end, State.mapped | (isFileBacked(this.#mapping) && this.#mapping.shared ? PageTrait.file : 0) | written)
      case AbsentEntry.protected: return this.#rest.tell(start, end)
      case AbsentEntry.swap: return this.#tally.add(start, end, State.swapped | written)
      // Shared pages that are in swap have no entry: what has one is a marker.
      default: if (this.#mapping.shared) return this.#rest.tell(start, end)
    }
    this.#hiddenAre ??= this.#judgeHidden()
    if (this.#hiddenAre === 'swap') this.#tally.add(start, end, State.swapped | written)
    else if (this.#hiddenAre === 'unknown') this.#tally.add(start, end, State.unknown)
    else if (entry === AbsentEntry.hidden) this.#tally.add(start, end, State.poisoned)
    else this.#rest.tell(start, end)
  }

  /**
   * Marks are left only where a userfaultfd is at work (poison outlives it, but who unregisters and keeps that?). There the
   * kernel tells how much of the mapping is in swap, from which follows what all are, if all are alike.
   */
  #judgeHidden(): 'swap' | 'markers' | 'unknown' {
    if (!isOwned(this.#detail.flags)) return 'swap'
    const swapped = this.#detail.swapBytes / 2 ** this.#context.shift
    if (swapped === 0) return 'markers'
    // Of shared memory's private mappings the sum counts the object's pages too.
    return this.kind !== 'shmem' && this.#countPages(ABSENT) <= swapped ? 'swap' : 'unknown'
  }

  #countPages(query: ScanQuery): number {
    const { start, end } = this.#mapping
    const found = new RegionList(COUNTED_REGIONS)
    let pages = 0
    for (let from: PageNumber = start; from < end;) {
      found.clear()
      const range: PageRange = { start: from, end }
      from = nextOf(this.#context.space.pageTables.scan(range, query, found), end, this.#context.space.pid)
      pages += found.pageCount()
    }
    return pages
  }
}

/** Pages that the page tables know nothing of. */
class RestOfMapping {
  readonly #mapping: Mapping
  readonly #kind: MappingKind
  readonly #context: SurveyContext
  readonly #tally: Tally
  #states: ObjectStates | undefined
  #refused: string | undefined
  /** How many pages of a hugetlb mapping are mapped. */
  hugetlbMapped = 0

  constructor(mapping: Mapping, kind: MappingKind, context: SurveyContext, tally: Tally) {
    this.#mapping = mapping
    this.#kind = kind
    this.#context = context
    this.#tally = tally
  }

  tell(start: number, end: number): void {
    if (this.#kind === 'special') this.#tally.add(start, end, State.special)
    else if (this.#kind === 'anon') this.#tally.add(start, end, State.hole)
    else {
      const object = this.#context.space.object(this.#mapping)
      if (object.kind === 'refused') this.#unknown(start, end, object.why)
      else if (this.#kind === 'hugetlb') this.#tellHugetlb(start, end, object)
      else this.#statesOf(object).classify(start, end)
    }
  }

  get untold(): string | undefined {
    return this.#refused ?? (this.#states?.untold ? 'what is in the page cache and not mapped: cachestat does not tell us (Linux 6.5; files of others need the right to write them)' : undefined)
  }

  #statesOf(object: MappedObject): ObjectStates {
    return this.#states ??= new ObjectStates(object, this.#mapping, this.#context.shift, (start, end, state) => this.#tally.add(start, end, state))
  }

  /** Of hugetlb memory the kernel tells only how much is there in all: enough when the rest is all there, or none of it. */
  #tellHugetlb(start: number, end: number, object: MappedObject): void {
    const mapped = this.#mapping.shared ? this.hugetlbMapped : 0
    if (object.residentPages <= mapped) this.#tally.add(start, end, State.hole)
    else if (object.residentPages >= object.pages) this.#tally.add(start, end, State.cached)
    else this.#unknown(start, end, 'which hugetlb pages are there without being mapped')
  }

  #unknown(start: number, end: number, why: string): void {
    this.#refused = why
    this.#tally.add(start, end, State.unknown)
  }
}

function nextOf(outcome: ScanOutcome, end: PageNumber, pid: number): PageNumber {
  if (outcome.kind === 'gone') throw new TidemarkError('gone', `process ${pid} ended while it was looked at`, { pid })
  return outcome.kind === 'full' ? outcome.next : end
}
