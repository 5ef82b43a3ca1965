import { isTidemarkError } from '../kernel/errors.ts'
import type { Kernel } from '../kernel/kernel.ts'
import type { Process } from '../kernel/process.ts'
import { Capture, type CopyBuffers, type Watcher } from './capture.ts'
import { STRATEGIES } from './strategies.ts'
import type { StrategyLimits, StrategyName } from './strategy.ts'

/** What is played, and how often: a strategy's own code, and for `auto` what it most likely takes. */
const PROGRAMME: Readonly<Record<StrategyName | 'auto', readonly StrategyName[]>> = {
  stop: ['stop', 'stop'],
  fork: ['fork', 'fork', 'fork'],
  precopy: ['precopy', 'precopy', 'precopy'],
  auto: ['precopy', 'stop', 'fork', 'precopy', 'stop', 'precopy'],
}
const LIMITS: StrategyLimits = { pauseNsMax: undefined, onPauseExceeded: 'proceed', roundsMax: 3, freezeTimeoutNs: 1_000_000_000 }
const RULES = { filter: 0xff, dontDumpToo: false }
const NOWHERE = { write: () => {} }
const SILENT: Watcher = { emit: () => {}, checkAborted: () => {} }

/**
 * Takes a few snapshots of a process of our own, into nothing. A first run of any code is slow in a just-in-time
 * compiler, ten milliseconds for what then takes one, and the target should not be the one to wait for it.
 */
export function rehearse(kernel: Kernel, buffers: CopyBuffers, strategy: StrategyName | 'auto', watcher: Watcher): void {
  watcher.emit({ kind: 'phase', phase: 'rehearsing' })
  using extra = kernel.startExtra()
  using process = kernel.openProcess(extra.pid)
  for (const name of PROGRAMME[strategy]) {
    try {
      playSnapshot(kernel, process, buffers, name)
    } catch (error) {
      // What this kernel cannot do is said when the strategy is asked for, of the target and not of the rehearsal.
      if (!isTidemarkError(error) || error.code === 'not-permitted') throw error
    }
  }
}

/** One snapshot of a process of our own, into nothing. Errors: those of the strategy. */
export function playSnapshot(kernel: Kernel, process: Process, buffers: CopyBuffers, name: StrategyName): void {
  STRATEGIES[name].take(new Capture(kernel, process, NOWHERE, buffers, RULES, SILENT), LIMITS)
}
