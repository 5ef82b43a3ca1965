import type { Clock } from '../kernel/clock.ts'
import type { CurvePoint } from '../snapshot/dirty-curve.ts'
import type { Round, Tracking } from '../tracking/tracking.ts'

/** Waits while a target runs, and lets its threads go on where they wait for us. */
function waitWhileTracked(clock: Clock, tracking: Tracking, ns: number): void {
  if (!tracking.needsServing) {
    clock.sleepNs(ns)
    return
  }
  for (const end = clock.nowNs() + ns; clock.nowNs() < end;) tracking.serve(Math.min(1_000_000, end - clock.nowNs()))
}

/** Collects after each of some intervals, and so finds points of the curve. `each` hears of every round. */
export function sampleCurve(clock: Clock, tracking: Tracking, intervalsNs: readonly number[], wanted: (round: Round) => number, each: (round: Round) => void): CurvePoint[] {
  return intervalsNs.map((ns) => {
    waitWhileTracked(clock, tracking, ns)
    const round = tracking.collect()
    each(round)
    return { ns: round.elapsedNs, pages: wanted(round) }
  })
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

/** Measurements of about the same interval, as one point each. */
export function averaged(points: readonly (CurvePoint & { readonly nominalNs: number })[]): CurvePoint[] {
  const groups = new Map<number, CurvePoint[]>()
  for (const point of points) groups.set(point.nominalNs, [...groups.get(point.nominalNs) ?? [], point])
  return [...groups.values()].map((group) => ({ ns: mean(group.map(({ ns }) => ns)), pages: mean(group.map(({ pages }) => pages)) }))
}
