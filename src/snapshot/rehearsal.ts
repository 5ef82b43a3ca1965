import { isTidemarkError } from '../kernel/errors.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { Capture, type CopyBuffers, type Watcher } from './capture.ts'
import { STRATEGIES } from './strategies.ts'
import type { StrategyLimits } from './strategy.ts'

const TIMES = 3
const LIMITS: StrategyLimits = { pauseNsMax: undefined, onPauseExceeded: 'proceed', roundsMax: 3, freezeTimeoutNs: 1_000_000_000 }
const RULES = { filter: 0xff, dontDumpToo: false }
const NOWHERE = { write: () => {} }
const SILENT: Watcher = { emit: () => {}, checkAborted: () => {} }

/**
 * Takes a few snapshots of a process of our own, into nothing. A first run of any code is slow in a just-in-time
 * compiler, ten milliseconds for what then takes one, and the target should not be the one to wait for it.
 */
export function rehearse(kernel: Kernel, buffers: CopyBuffers, watcher: Watcher): void {
  watcher.emit({ kind: 'phase', phase: 'rehearsing' })
  using extra = kernel.startExtra()
  using process = kernel.openProcess(extra.pid)
  for (let i = 0; i < TIMES; i++) {
    for (const strategy of Object.values(STRATEGIES)) {
      try {
        strategy.take(new Capture(kernel, process, NOWHERE, buffers, RULES, SILENT), LIMITS)
      } catch (error) {
        // What this kernel cannot do is said when the strategy is asked for, of the target and not of the rehearsal.
        if (!isTidemarkError(error) || error.code === 'not-permitted') throw error
      }
    }
  }
}
