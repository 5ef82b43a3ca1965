import type { Mapping } from '../memory/mapping.ts'
import type { Kernel } from '../kernel/kernel.ts'
import type { Process } from '../kernel/process.ts'
import { convergence, type Convergence } from '../snapshot/convergence.ts'
import { BUFFER_BYTES } from '../snapshot/capture.ts'
import { DirtyCurve, type CurvePoint } from '../snapshot/dirty-curve.ts'
import { forecastAll, type Forecast } from '../snapshot/forecast.ts'
import { measurePopulation, type Population } from '../snapshot/population.ts'
import { shareOf } from '../snapshot/selection.ts'
import { Tracking, type Round, type TrackingOptions } from '../tracking/tracking.ts'
import { averaged, mean, sampleCurve } from './curve-sampler.ts'

export interface PredictPlan extends TrackingOptions {
  readonly pid: number
  /** How long to watch. */
  readonly forNs: number
  /** Rounds of pre-copy at most, as for a dump. */
  readonly roundsMax: number
}

/** What a snapshot of a process would cost, by each strategy. Times in nanoseconds, sizes in bytes. */
export interface Prediction {
  readonly pid: number
  readonly pageBytes: number
  readonly measuredNs: number
  readonly population: Population
  /** Distinct pages written within a time, as measured. */
  readonly curve: readonly CurvePoint[]
  readonly strategies: Required<Forecast>
  /** Where copying in rounds converges, by bandwidth and downtime. */
  readonly convergence: readonly Convergence[]
}

const NOMINAL_NS = [8e6, 40e6, 200e6, 1e9]
/** More of the short intervals says little. */
const REPEATS_MAX = 8
const BANDWIDTHS = [1e8, 1e9, 3e9, 1e10]
const DOWNTIMES_NS = [1e6, 1e7, 1e8, 1e9]

export function predictProcess(kernel: Kernel, plan: PredictPlan, checkAborted: () => void): Prediction {
  using process = kernel.openProcess(plan.pid)
  const wanted = dumpedWhole(process)
  const { hugePages } = measurePopulation(process, wanted)
  const start = kernel.clock.nowNs()
  const tracking = new Tracking(kernel, process, plan)
  try {
    const runnable: number[] = []
    const points = schedule(plan.forNs).map((nominalNs) => {
      checkAborted()
      runnable.push(kernel.tasks.runnable(plan.pid))
      const [point] = sampleCurve(kernel.clock, tracking, [nominalNs], (round) => writtenPages(round, wanted), () => {})
      return { ...point!, nominalNs }
    })
    const measuredNs = kernel.clock.nowNs() - start
    const now = measurePopulation(process, wanted)
    const population = { ...now, splitPages: Math.max(0, hugePages - now.hugePages) }
    const load = Math.max(1, (mean(runnable) + 1) / kernel.processors)
    const pageBytes = 2 ** kernel.pageShift
    const curve = new DirtyCurve(averaged(points), population.pages)
    return {
      pid: plan.pid, pageBytes, measuredNs: Math.round(measuredNs), population, curve: curve.points,
      strategies: forecastAll(population, curve, pageBytes, BUFFER_BYTES, plan.roundsMax, load),
      convergence: BANDWIDTHS.flatMap((bandwidth) => DOWNTIMES_NS.map((downtimeNs) => convergence(curve, population.pages, pageBytes, bandwidth, downtimeNs))),
    }
  } finally {
    tracking.end()
  }
}

/** Which mappings a dump with the process's own filter would save whole. */
export function dumpedWhole(process: Process): (mapping: Mapping) => boolean {
  const rules = { filter: process.coredumpFilter(), dontDumpToo: false }
  return (mapping) => shareOf(mapping, undefined, rules) === 'whole'
}

export function writtenPages(round: Round, wanted: (mapping: Mapping) => boolean): number {
  return round.followed.reduce((pages, { mapping, written }) => wanted(mapping) ? pages + written.pageCount() : pages, 0)
}

/** Intervals to measure, each kind for an equal share of the time. */
function schedule(forNs: number): number[] {
  const kinds = NOMINAL_NS.filter((ns) => ns <= forNs / NOMINAL_NS.length || ns === NOMINAL_NS[0])
  return kinds.flatMap((ns) => Array.from({ length: Math.max(1, Math.min(REPEATS_MAX, Math.floor(forNs / kinds.length / ns))) }, () => ns))
}
