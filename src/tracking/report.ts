/** What tracking tells its caller: plain values, fit to travel between processes. */

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
  /** By which mechanism it is followed; 'none' when nothing can, and then `blindSpots` says why. */
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
