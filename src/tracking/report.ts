/** What tracking tells its caller: plain values, fit to travel between processes. */
import { addressOf, formatAddress, type PageShift } from '../memory/address.ts'
import { permissions } from '../memory/mapping.ts'
import type { Round } from './tracking.ts'

/** The mechanisms, best first. */
export const TRACKER_NAMES = ['wp-async', 'soft-dirty', 'wp-sync', 'compare'] as const
export type TrackerName = (typeof TRACKER_NAMES)[number]

/** A way in which memory may change without showing in a report. */
export interface HiddenWrites {
  readonly kind: 'shared-writers' | 'file-written' | 'pinned' | 'direct-io' | 'merged' | 'untracked'
  readonly why: string
}

export interface MappingReport {
  /** `0x` and 16 hex digits. */
  readonly start: string
  readonly end: string
  readonly permissions: string
  readonly path: string
  /** By which mechanism it is followed; 'none' when nothing can: its pages are then reported whole, but for memory that is not the program's to write. */
  readonly tracker: TrackerName | 'none'
  readonly blindSpots: readonly HiddenWrites[]
  readonly writtenPages: number
  /** Byte addresses, two for each range: its start, and its end, which is not part of it. Ascending, merged. */
  readonly written: BigUint64Array
}

/** The pages written since the mark before, which is set again where they were found. */
export interface WrittenReport {
  readonly pid: number
  readonly pageBytes: number
  /** When the marks were set, and how long after those before; monotonic nanoseconds. */
  readonly atNs: number
  readonly elapsedNs: number
  readonly writtenPages: number
  readonly mappings: readonly MappingReport[]
  /** What concerns the whole process and not one mapping. */
  readonly blindSpots: readonly HiddenWrites[]
  /** How long the target stood still for this report; 0 when it did not. */
  readonly stopNs: number
}

/** A round in the words of {@link WrittenReport}. */
export function describeRound(pid: number, shift: PageShift, round: Round): WrittenReport {
  const mappings = round.followed.map(({ mapping, tracker, hidden, written }): MappingReport => ({
    start: formatAddress(addressOf(mapping.start, shift)), end: formatAddress(addressOf(mapping.end, shift)),
    permissions: permissions(mapping), path: mapping.path, tracker, blindSpots: hidden,
    writtenPages: written.pageCount(), written: written.toAddresses(shift),
  }))
  return {
    pid, pageBytes: 2 ** shift, atNs: Math.round(round.atNs), elapsedNs: Math.round(round.elapsedNs), stopNs: Math.round(round.stopNs),
    writtenPages: mappings.reduce((pages, { writtenPages }) => pages + writtenPages, 0), mappings, blindSpots: round.hidden,
  }
}
