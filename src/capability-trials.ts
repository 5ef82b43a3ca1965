/** Strategies are tried by taking a snapshot of a child of our own with each, into nothing: only that tells what works. */
import { existsSync } from 'node:fs'
import { isTidemarkError, TidemarkError } from './kernel/errors.ts'
import type { Kernel } from './kernel/kernel.ts'
import { probeLinux, type Capabilities, type Capability, type StrategyCapability } from './linux/capabilities.ts'
import { openLinuxKernel } from './linux/linux-kernel.ts'
import { CopyBuffers } from './snapshot/capture.ts'
import { playSnapshot } from './snapshot/rehearsal.ts'
import type { StrategyName } from './snapshot/strategy.ts'

/** What each strategy rests on, the deepest ground first, so that the first that is missing is the reason. */
const NEEDS: Readonly<Record<StrategyName, readonly string[]>> = {
  stop: ['ptrace', 'process-vm-readv', 'proc-mem'],
  fork: ['ptrace', 'process-vm-readv', 'proc-mem'],
  precopy: ['ptrace', 'process-vm-readv', 'proc-mem', 'pagemap-scan', 'userfaultfd-user-mode', 'userfaultfd-feature-wp-async', 'userfaultfd', 'pidfd-getfd', 'wp-async-anon'],
}

/** What this kernel, this machine and this user can do, found by trying. Synchronous: ptrace belongs to one thread. */
export function probeCapabilities(open: () => Kernel = openLinuxKernel): Capabilities {
  if (!existsSync('/proc/self/status')) throw new TidemarkError('unsupported', '/proc is not there', { hint: 'mount -t proc proc /proc' })
  const kernel = orError(open)
  const found = isTidemarkError(kernel) ? probeLinux() : probeLinux(kernel.tasks)
  const names: StrategyName[] = ['stop', 'fork', 'precopy']
  return { ...found, strategies: names.map((name) => isTidemarkError(kernel) ? blocked(name, kernel) : judge(name, found.capabilities, orError(() => takeSnapshot(kernel, name)))) }
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

function judge(strategy: StrategyName, found: readonly Capability[], error: TidemarkError | void): StrategyCapability {
  const byName = new Map(found.map((capability) => [capability.name, capability]))
  const missing = NEEDS[strategy].map((name) => byName.get(name)).find((capability) => capability?.available === false)
  // Without tracking a pre-copy comes to an end too: it copies everything in the pause.
  if (error === undefined && (strategy !== 'precopy' || byName.get('wp-async-anon')?.available)) return withLimit(strategy, byName)
  if (missing === undefined) return blocked(strategy, error)
  const refused = /\bE(PERM|ACCES)\b/.test(missing.detail)
  return { strategy, available: false, obstacle: refused ? 'not-permitted' : obstacleOf(error), why: `${missing.title}: ${missing.detail}`, remedy: missing.remedy }
}

function blocked(strategy: StrategyName, error: TidemarkError | void): StrategyCapability {
  return { strategy, available: false, obstacle: obstacleOf(error), why: error?.message ?? '', remedy: error?.hint ?? '' }
}

function obstacleOf(error: TidemarkError | void): StrategyCapability['obstacle'] {
  if (error === undefined || error.code === 'unsupported') return 'unsupported'
  return error.code === 'not-permitted' ? 'not-permitted' : 'failed'
}

/** A child of ours is the easiest of targets: what works on it may still be refused for others. */
function withLimit(strategy: StrategyName, byName: ReadonlyMap<string, Capability>): StrategyCapability {
  const limit = ['ptrace-strangers', 'ptrace-other-users'].map((name) => byName.get(name)).find((capability) => capability?.available === false)
  return { strategy, available: true, obstacle: 'none', why: limit?.detail ?? '', remedy: limit?.remedy ?? '' }
}
