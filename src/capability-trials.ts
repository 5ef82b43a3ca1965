/** Strategies and trackers are tried on a child of our own: only that tells what works. */
import { existsSync } from 'node:fs'
import { isTidemarkError, TidemarkError } from './kernel/errors.ts'
import type { Kernel } from './kernel/kernel.ts'
import { probeLinux, type Capabilities, type Capability, type Trial } from './linux/capabilities.ts'
import { openLinuxKernel } from './linux/linux-kernel.ts'
import { CopyBuffers } from './snapshot/capture.ts'
import { playSnapshot } from './snapshot/rehearsal.ts'
import type { StrategyName } from './snapshot/strategy.ts'
import { TRACKER_NAMES, type TrackerName } from './tracking/report.ts'
import { Tracking } from './tracking/tracking.ts'

/** What each rests on, the deepest ground first, so that the first that is missing is the reason. */
const HOLDING = ['ptrace', 'process-vm-readv', 'proc-mem']
const FOLLOWING = [...HOLDING, 'pagemap-scan', 'userfaultfd-user-mode', 'userfaultfd-feature-wp-async', 'userfaultfd', 'pidfd-getfd', 'wp-async-anon']
const NEEDS: Readonly<Record<StrategyName | TrackerName, readonly string[]>> = {
  stop: HOLDING,
  fork: HOLDING,
  precopy: FOLLOWING,
  'wp-async': FOLLOWING,
  'soft-dirty': [...HOLDING, 'soft-dirty'],
  'wp-sync': [...HOLDING, 'userfaultfd', 'userfaultfd-feature-pagefault-flag-wp', 'pidfd-getfd'],
  compare: HOLDING,
}
const STRATEGY_NAMES: readonly StrategyName[] = ['stop', 'fork', 'precopy']

/** What this kernel, this machine and this user can do, found by trying. Synchronous: ptrace belongs to one thread. */
export function probeCapabilities(open: () => Kernel = openLinuxKernel): Capabilities {
  if (!existsSync('/proc/self/status')) throw new TidemarkError('unsupported', '/proc is not there', { hint: 'mount -t proc proc /proc' })
  const kernel = orError(open)
  const found = isTidemarkError(kernel) ? probeLinux() : probeLinux(kernel.tasks)
  const judge = <Name extends StrategyName | TrackerName>(name: Name, trial: (kernel: Kernel, name: Name) => void): Trial =>
    isTidemarkError(kernel) ? blocked(kernel) : judged(name, found.capabilities, orError(() => trial(kernel, name)))
  return {
    ...found,
    trackers: TRACKER_NAMES.map((tracker) => ({ tracker, ...judge(tracker, track) })),
    strategies: STRATEGY_NAMES.map((strategy) => ({ strategy, ...judge(strategy, takeSnapshot) })),
  }
}

function orError<T>(body: () => T): T | TidemarkError {
  try {
    return body()
  } catch (error) {
    if (!isTidemarkError(error)) throw error
    return error
  }
}

function takeSnapshot(kernel: Kernel, name: StrategyName): void {
  using buffers = new CopyBuffers(kernel)
  using extra = kernel.startExtra()
  using process = kernel.openProcess(extra.pid)
  playSnapshot(kernel, process, buffers, name)
}

function track(kernel: Kernel, name: TrackerName): void {
  using extra = kernel.startExtra()
  using process = kernel.openProcess(extra.pid)
  using tracking = new Tracking(kernel, process, { trackers: [name], freezeTimeoutNs: 1e9 })
  tracking.collect()
  tracking.end()
}

function judged(name: StrategyName | TrackerName, found: readonly Capability[], error: TidemarkError | void): Trial {
  const byName = new Map(found.map((capability) => [capability.name, capability]))
  const missing = NEEDS[name].map((need) => byName.get(need)).find((capability) => capability?.available === false)
  // Without tracking a pre-copy comes to an end too: it copies everything in the pause.
  if (error === undefined && (name !== 'precopy' || byName.get('wp-async-anon')?.available)) return withLimit(byName)
  if (missing === undefined) return blocked(error)
  const refused = /\bE(PERM|ACCES)\b/.test(missing.detail)
  return { available: false, obstacle: refused ? 'not-permitted' : obstacleOf(error), why: `${missing.title}: ${missing.detail}`, remedy: missing.remedy }
}

function blocked(error: TidemarkError | void): Trial {
  return { available: false, obstacle: obstacleOf(error), why: error?.message ?? '', remedy: error?.hint ?? '' }
}

function obstacleOf(error: TidemarkError | void): Trial['obstacle'] {
  if (error === undefined || error.code === 'unsupported') return 'unsupported'
  return error.code === 'not-permitted' ? 'not-permitted' : 'failed'
}

/** A child of ours is the easiest of targets: what works on it may still be refused for others. */
function withLimit(byName: ReadonlyMap<string, Capability>): Trial {
  const limit = ['ptrace-strangers', 'ptrace-other-users'].map((name) => byName.get(name)).find((capability) => capability?.available === false)
  return { available: true, obstacle: 'none', why: limit?.detail ?? '', remedy: limit?.remedy ?? '' }
}
