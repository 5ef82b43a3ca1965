import { TidemarkError } from '../kernel/errors.ts'
import type { Capture } from './capture.ts'
import type { StrategyLimits } from './strategy.ts'

export function formatPause(ns: number): string {
  return ns < 100_000 ? `${Math.round(ns / 1e3)} µs` : `${(ns / 1e6).toFixed(ns < 10e6 ? 1 : 0)} ms`
}

/** The promise of --max-pause: what cannot be kept is said before the target is stopped. */
export function keepPause(capture: Capture, limits: StrategyLimits, forecastNs: number): void {
  const { pauseNsMax, onPauseExceeded } = limits
  if (pauseNsMax === undefined || forecastNs <= pauseNsMax) return
  const text = `the pause would be about ${formatPause(forecastNs)}, more than the ${formatPause(pauseNsMax)} allowed`
  if (onPauseExceeded === 'abort') {
    throw new TidemarkError('pause-exceeded', `${text}; the target was not stopped`, {
      pid: capture.process.pid, hint: 'allow more, let it go on with --on-pause-exceeded proceed, or use another --strategy',
    })
  }
  capture.watcher.emit({ kind: 'warning', text })
}
