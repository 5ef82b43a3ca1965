/**
 * tracking/ answers one question: which pages were written since the mark? It never keeps a page's contents.
 * tracking.ts chooses a mechanism for each mapping and follows mappings as they come and go; the mechanisms are
 * wp-async.ts, wp-sync.ts, soft-dirty.ts and compare.ts, behind the interface here.
 */
import type { PageNumber } from '../memory/address.ts'
import type { Mapping } from '../memory/mapping.ts'
import type { PageSpans } from '../memory/page-spans.ts'
import type { RegionList } from '../memory/region-list.ts'
import { TidemarkError } from '../kernel/errors.ts'
import { PageState, type ScanOutcome } from '../kernel/page-tables.ts'
import type { Stopped } from '../tracee/freeze.ts'
import type { TrackerName } from './report.ts'

export const POPULATED = PageState.present | PageState.swapped

/** Where the pages found in a mapping go. */
export type Sink = (mapping: Mapping) => PageSpans

export interface Tracker extends Disposable {
  readonly name: TrackerName
  /** Whether mappings are registered with the kernel, so that it can tell which are followed. */
  readonly registers: boolean
  /** How long the target has stood still for marking and collecting, in all. */
  readonly stopNs: number
  /** Takes a mapping on. Precondition: all threads stand. Errors: 'unsupported' when the mechanism cannot be had for this target. */
  adopt(stopped: Stopped, mapping: Mapping): 'adopted' | 'owned' | 'refused'
  /** Whether it follows what is now at a mapping's place: another mapping may have taken it. */
  follows(mapping: Mapping): boolean
  /** Mappings that the last {@link collect} found not to be followed any more, which nothing could tell before. */
  readonly lost: ReadonlySet<number>
  /** Hears of all mappings there are, before each round. */
  forgetAllBut(mappings: readonly Mapping[]): void
  /** Sets the first mark on mappings, and reports every populated page of them. */
  mark(mappings: readonly Mapping[], sink: Sink): void
  /** Reports the populated pages written since their mark, and sets it again. What was not populated then counts as written. */
  collect(mappings: readonly Mapping[], sink: Sink): void
  /** Whether threads may wait for us, so that {@link serve} has to be called without long gaps. */
  readonly needsServing: boolean
  /** Lets threads go on that wait for us, for up to `waitNs`. Returns how many there were. */
  serve(waitNs: number): number
  /** Stops tracking the mappings that are `tracked`, without holding up the target; disposing alone does so at once. */
  end(tracked: (mapping: Mapping) => boolean): void
}

/**
 * Repeats a scan until it is done, handing on what it found. Returns where it met an untracked mapping, if it did.
 * Throws 'gone' when the memory has gone.
 */
export function drain(scan: (from: PageNumber, found: RegionList) => ScanOutcome, from: PageNumber, found: RegionList, each: (regions: RegionList) => void): PageNumber | undefined {
  for (let at = from; ;) {
    found.clear()
    const outcome = scan(at, found)
    if (outcome.kind === 'gone') throw new TidemarkError('gone', 'the process ended or executed another program meanwhile')
    each(found)
    if (outcome.kind === 'done') return undefined
    if (outcome.kind === 'untracked') return outcome.at
    at = outcome.next
  }
}
