import type { DirtyCurve } from './dirty-curve.ts'

/** Whether copying in rounds over a connection of some bandwidth gets little enough left to be sent in a given downtime. */
export interface Convergence {
  readonly bandwidthBytesPerSecond: number
  readonly downtimeNs: number
  readonly converges: boolean
  /** Rounds until then, and all bytes sent; where it does not converge, until it no longer shrank. */
  readonly rounds: number
  readonly sentBytes: number
  readonly totalNs: number
  /** The downtime that the last round came to. */
  readonly reachedNs: number
}

const ROUNDS_MAX = 30
/** A round that leaves more than this of the one before will not get much shorter. */
const SHRINKS = 0.95

export function convergence(curve: DirtyCurve, populatedPages: number, pageBytes: number, bandwidthBytesPerSecond: number, downtimeNs: number): Convergence {
  const nsPerPage = (pageBytes / bandwidthBytesPerSecond) * 1e9
  let left = populatedPages
  let sent = 0
  let rounds = 0
  for (let shrinks = true; shrinks && left * nsPerPage > downtimeNs && rounds < ROUNDS_MAX; rounds++) {
    sent += left
    const next = curve.pagesWithin(left * nsPerPage)
    shrinks = next < left * SHRINKS
    left = next
  }
  sent += left
  return {
    bandwidthBytesPerSecond, downtimeNs, converges: left * nsPerPage <= downtimeNs, rounds,
    sentBytes: Math.round(sent * pageBytes), totalNs: Math.round(sent * nsPerPage), reachedNs: Math.round(left * nsPerPage),
  }
}
