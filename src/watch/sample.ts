/** One look at a process in `top`: plain values, fit to travel between processes. */
import type { HiddenWrites, TrackerName } from '../tracking/report.ts'
import type { Forecast } from '../snapshot/forecast.ts'

/** Distinct pages written in the last second, ten seconds and minute, by whole looks; what was watched for less than that counts what there is. */
export interface WorkingSet {
  readonly in1sPages: number
  readonly in10sPages: number
  readonly in60sPages: number
}

export interface MappingSample {
  /** `0x` and 16 hex digits. */
  readonly start: string
  readonly end: string
  readonly permissions: string
  readonly path: string
  readonly residentPages: number
  readonly swappedPages: number
  /** Distinct pages written since the sample before. */
  readonly writtenPages: number
  readonly writtenPagesPerSecond: number
  readonly workingSet: WorkingSet
  readonly tracker: TrackerName | 'none'
  readonly blindSpots: readonly HiddenWrites[]
}

/** What watching costs the target and this machine, in the interval before the sample. */
export interface WatchCost {
  /** Of one processor, by the process that watches: 0.01 is one per cent. */
  readonly toolCpuShare: number
  /** Page faults that the target took only because it is watched. */
  readonly extraFaultsPerSecond: number
  /** Estimated share of its time that these faults and our stops took. */
  readonly slowdownShare: number
  /** How long it stood still. */
  readonly stopNs: number
}

export interface WatchSample {
  readonly pid: number
  readonly name: string
  readonly pageBytes: number
  /** Monotonic nanoseconds of this sample, and how long after the one before. */
  readonly atNs: number
  readonly elapsedNs: number
  /** How long to wait before the next, so that the target's slowdown keeps within the budget. */
  readonly nextAfterNs: number
  readonly residentPages: number
  readonly swappedPages: number
  readonly writtenPages: number
  readonly writtenPagesPerSecond: number
  readonly workingSet: WorkingSet
  readonly mappings: readonly MappingSample[]
  readonly blindSpots: readonly HiddenWrites[]
  /** Children that it has and had not at the sample before, where that can be told; they are not watched. */
  readonly forkedPids?: readonly number[]
  /** Resident memory in address order in equal shares, and how many pages of each were written since the sample before. */
  readonly heat: readonly number[]
  readonly heatCellPages: number
  readonly cost: WatchCost
  /** By name of strategy; empty until enough has been seen. */
  readonly predicted: Forecast
}

/** What a look finds: a sample, or that the process is another program now (watched anew), or no more. */
export type WatchOutcome =
  | { readonly kind: 'sample'; readonly sample: WatchSample }
  | { readonly kind: 'executed'; readonly pid: number; readonly name: string }
  | { readonly kind: 'gone'; readonly pid: number }
