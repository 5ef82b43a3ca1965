import { allocateBlock, sliceBlock } from './block.ts'
import { linuxClock } from './clock.ts'
import { machine, release } from 'node:os'
import type { Tasks } from '../kernel/tasks.ts'
import { refusalOf } from './capabilities/attempt.ts'
import { probeMemory } from './capabilities/memory.ts'
import { probeReading } from './capabilities/reading.ts'
import { readSituation } from './capabilities/situation.ts'
import { probeTracing } from './capabilities/tracing.ts'
import { probeTracking } from './capabilities/tracking.ts'
import { probeUserfaultfd } from './capabilities/userfaultfd.ts'
import { startExtra } from './extra.ts'
import { runningPageShift } from './linux-kernel.ts'
import { linuxTasks } from './tasks.ts'

/** What was found by trying it. */
export interface Capability {
  /** Stable name for machines, such as `wp-async-private-file`. */
  readonly name: string
  /** What it belongs to: holding a process, following its writes, reading it, or how this machine manages memory. */
  readonly group: 'tracing' | 'tracking' | 'reading' | 'memory'
  /** For people. */
  readonly title: string
  readonly available: boolean
  /** Why not, or what is noteworthy; empty when there is nothing to say. */
  readonly detail: string
  /** What its absence costs and how to get it; empty when available. */
  readonly remedy: string
}

/** Whether something of ours works, found by doing it to a child of our own. */
export interface Trial {
  readonly available: boolean
  /** The kind of obstacle; `none` when available. */
  readonly obstacle: 'none' | 'not-permitted' | 'unsupported' | 'failed'
  /** Why not; when available, for which processes not; empty when there is nothing to say. */
  readonly why: string
  /** What can be done about `why`. */
  readonly remedy: string
}

export interface StrategyCapability extends Trial {
  readonly strategy: 'stop' | 'fork' | 'precopy'
}

export interface TrackerCapability extends Trial {
  readonly tracker: 'wp-async' | 'soft-dirty' | 'wp-sync' | 'compare'
}

export interface Capabilities {
  readonly kernel: string
  readonly machine: string
  readonly pageBytes: number
  readonly user: string
  readonly capabilities: readonly Capability[]
  readonly trackers: readonly TrackerCapability[]
  readonly strategies: readonly StrategyCapability[]
}

/**
 * Tries everything on memory and a child of our own; leaves nothing behind. Never judges by version number, and never throws
 * for what the kernel refuses: containers, security modules and distributors' patches make all other ways wrong.
 * The trackers and strategies are tried by a higher room (capability-trials.ts).
 */
export function probeLinux(tasks: Tasks = ownTasks()): Omit<Capabilities, 'trackers' | 'strategies'> {
  const situation = readSituation()
  const shift = runningPageShift()
  const userfaultfd = probeUserfaultfd(situation)
  const withChild = onChild((pid) => [...probeTracing(tasks, pid, situation), ...probeReading(pid, shift, situation)])
  const capabilities = [...withChild, ...userfaultfd.found, ...probeTracking(userfaultfd.open, shift, situation), ...probeMemory(shift)]
  return { kernel: release(), machine: machine(), pageBytes: 2 ** shift, user: situation.user, capabilities }
}

/** For the rare caller without a kernel; its two pages stay with the worker's process. */
export function ownTasks(): Tasks {
  const memory = allocateBlock(8192)
  return linuxTasks(linuxClock(sliceBlock(memory, 0, 4096)), sliceBlock(memory, 4096, 4096))
}

/** Without a child, everything that would have been tried on it fails and says so. */
function onChild<T>(body: (pid: number | undefined) => T): T {
  let extra: ReturnType<typeof startExtra>
  try {
    extra = startExtra()
  } catch (error) {
    if (refusalOf(error) === undefined) throw error
    return body(undefined)
  }
  try {
    return body(extra.pid)
  } finally {
    extra[Symbol.dispose]()
  }
}
