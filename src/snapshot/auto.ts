import { TidemarkError, isTidemarkError } from '../kernel/errors.ts'
import type { WpAsyncTracker } from '../tracking/wp-async.ts'
import { untracked } from './blind-spots.ts'
import type { Capture } from './capture.ts'
import { DirtyCurve, type CurvePoint } from './dirty-curve.ts'
import { forecastFork, forecastPrecopy, forecastStop } from './forecast.ts'
import { formatPause } from './pause-budget.ts'
import type { Population } from './population.ts'
import { takePrecopy, trackWhole } from './precopy.ts'
import { STRATEGIES } from './strategies.ts'
import type { Moment, StrategyLimits, StrategyName } from './strategy.ts'

/** How long the target is watched, twice: the curve of what it writes bends between. */
const SAMPLES_NS = [8_000_000, 40_000_000]

interface Option {
  readonly name: StrategyName
  readonly pauseNs: number
  /** Whether what we know of the target lets the image be proven to be of one instant. */
  readonly provable: boolean
}

/**
 * Looks at the target for a twentieth of a second, forecasts every strategy's pause and takes the cheapest that keeps
 * within the limit: stopping costs the least work, pre-copy more, a fork memory. Without a limit, the shortest pause.
 */
export function takeAuto(capture: Capture, limits: StrategyLimits): { readonly name: StrategyName; readonly moment: Moment } {
  if (capture.process.jobStopped()) return { name: 'stop', moment: STRATEGIES.stop.take(capture, { ...limits, pauseNsMax: undefined }) }
  const population = capture.population()
  using tracker = openTracker(capture, limits)
  const options = forecastEach(capture, population, tracker, limits)
  const choice = choose(options, limits)
  if (choice.name === 'precopy' && tracker !== undefined) return { name: 'precopy', moment: takePrecopy(capture, limits, tracker) }
  tracker?.end((mapping) => capture.share(mapping) === 'whole')
  return { name: choice.name, moment: STRATEGIES[choice.name].take(capture, limits) }
}

function openTracker(capture: Capture, limits: StrategyLimits): WpAsyncTracker | undefined {
  capture.watcher.emit({ kind: 'phase', phase: 'arming' })
  try {
    return trackWhole(capture, limits)
  } catch (error) {
    if (isTidemarkError(error) && (error.code === 'unsupported' || error.code === 'failed')) return undefined
    throw error
  }
}

function forecastEach(capture: Capture, population: Population, tracker: WpAsyncTracker | undefined, limits: StrategyLimits): Option[] {
  const options: Option[] = [{ name: 'stop', pauseNs: forecastStop(population), provable: true }]
  if (capture.kernel.architecture.lifeline !== undefined) {
    options.push({ name: 'fork', pauseNs: forecastFork(population), provable: true })
  }
  if (tracker !== undefined) {
    const { pauseNs, converges } = forecastPrecopy(population, sampleCurve(capture, tracker, population), limits.roundsMax)
    if (converges || pauseNs < options[0]!.pauseNs) {
      options.push({ name: 'precopy', pauseNs, provable: untracked(capture.process.hiddenWriters()).length === 0 })
    }
  }
  return options
}

/** Marks everything, waits, and looks what was written; then waits longer. */
function sampleCurve(capture: Capture, tracker: WpAsyncTracker, population: Population): DirtyCurve {
  const { kernel, process } = capture
  capture.watcher.emit({ kind: 'phase', phase: 'measuring' })
  const mappings = process.mappings().filter((mapping) => capture.share(mapping) === 'whole' && !tracker.isRefused(mapping))
  for (const mapping of mappings) {
    tracker.clearStale(mapping, capture.found)
    capture.drain((start, found) => tracker.markAll({ start, end: mapping.end }, found), mapping.start, () => {})
  }
  const points = SAMPLES_NS.map((sampleNs): CurvePoint => {
    const start = kernel.clock.nowNs()
    kernel.clock.sleepNs(sampleNs)
    const ns = kernel.clock.nowNs() - start
    let pages = 0
    for (const mapping of mappings) {
      capture.drain((from, found) => tracker.takeWritten({ start: from, end: mapping.end }, found), mapping.start, (regions) => { pages += regions.pageCount() })
    }
    return { ns, pages }
  })
  return new DirtyCurve(points, population.pages)
}

function choose(options: readonly Option[], limits: StrategyLimits): Option {
  const limit = limits.pauseNsMax
  const byPause = options.toSorted((a, b) => Number(b.provable) - Number(a.provable) || a.pauseNs - b.pauseNs)
  if (limit === undefined) return byPause[0]!
  const order: StrategyName[] = ['stop', 'precopy', 'fork']
  const fitting = byPause.filter(({ pauseNs }) => pauseNs <= limit).toSorted((a, b) => order.indexOf(a.name) - order.indexOf(b.name))
  const best = fitting.find(({ provable }) => provable) ?? fitting[0]
  if (best !== undefined) return best
  if (limits.onPauseExceeded === 'proceed') return byPause[0]!
  const forecasts = byPause.map(({ name, pauseNs }) => `${name} ${formatPause(pauseNs)}`).join(', ')
  throw new TidemarkError('pause-exceeded', `no strategy keeps the pause within ${formatPause(limit)} (${forecasts}); the target was not stopped`, {
    hint: 'allow more with --max-pause, or let the shortest go on with --on-pause-exceeded proceed',
  })
}
