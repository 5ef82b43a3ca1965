import type { Mapping } from '../memory/mapping.ts'
import type { BlindSpot } from './blind-spots.ts'
import type { Capture } from './capture.ts'
import type { ThreadState } from './threads.ts'

export type StrategyName = 'stop' | 'fork' | 'precopy'

export interface StrategyLimits {
  /** `undefined`: as short as it gets. */
  readonly pauseNsMax: number | undefined
  /** What to do when the pause cannot be kept within that. */
  readonly onPauseExceeded: 'abort' | 'proceed'
  readonly roundsMax: number
  readonly freezeTimeoutNs: number
}

/** One instant of the target, its pages in the file. */
export interface Moment {
  readonly threads: readonly ThreadState[]
  readonly mappings: readonly Mapping[]
  /** From the first thread asked to stop to the last let go. */
  readonly pauseNs: number
  /** Of that, until the last thread had stopped. */
  readonly freezeNs: number
  /** How long one thread stood still earlier, to arm. */
  readonly armingNs: number
  readonly roundPages: readonly number[]
  readonly dirtyAtPausePages: number
  readonly blindSpots: readonly BlindSpot[]
  /** Memory beyond our buffers that the snapshot cost. */
  readonly extraBytesMax: number
}

/** A way to get one instant of a running process into a file. */
export interface Strategy {
  readonly name: StrategyName
  take(capture: Capture, limits: StrategyLimits): Moment
}
