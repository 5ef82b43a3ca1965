/** What the contract is held against: the trackers of this machine, by the public API, and the oracle. */
import { attach, capabilities } from 'tidemark'
import type { TrackerName, WrittenReport } from '#dist/tracking/report.js'
import { type Lossy, OracleTracker } from './oracle-tracker.ts'

/** As much of tidemark's Tracking as is needed. */
export interface Tracking extends AsyncDisposable {
  collect(): Promise<WrittenReport>
}

export interface Subject {
  readonly name: string
  /** Sets the mark on everything. */
  begin(pid: number): Promise<Tracking>
  /** Kinds of scribe's memory that the mechanism cannot follow, by the kernel's design. */
  readonly cannotFollow: ReadonlySet<string>
  /** Kinds of which it promises not to report a page that nobody wrote, once it follows it. */
  readonly exactFor: ReadonlySet<string>
}

const FOUR_KIB = ['anon', 'apart', 'heap', 'brk', 'stack', 'bss']
const ANONYMOUS = [...FOUR_KIB, 'thp']
const SHMEM = ['shared', 'memfd', 'private-memfd', 'sysv']
const FILES = ['data', 'file', 'private-file']

/**
 * Only WP_ASYNC registers mappings of ordinary files, and of SysV segments, whose operations are not shmem's own (shm_vm_ops,
 * ipc/shm.c); nobody one that another userfaultfd holds (userfaultfd_register(), Linux 6.18).
 */
const CANNOT_FOLLOW: Readonly<Record<TrackerName, readonly string[]>> = {
  'wp-async': ['owned'], 'soft-dirty': [], 'wp-sync': [...FILES, 'sysv', 'owned'], compare: [],
}
const EXACT_FOR: Readonly<Record<TrackerName, readonly string[]>> = {
  'wp-async': ANONYMOUS, 'soft-dirty': [], 'wp-sync': FOUR_KIB, compare: FOUR_KIB,
}

/** Why the tracker is not to be had here, of what `capabilities()` found by trying; false if it is. */
const found = new Map((await capabilities()).capabilities.map((capability) => [capability.name, capability]))

export function trackerUnavailable(name: TrackerName): string | false {
  const needed = { 'wp-async': 'wp-async-anon', 'soft-dirty': 'soft-dirty', 'wp-sync': 'userfaultfd-feature-pagefault-flag-wp', compare: 'proc-mem' }[name]
  const capability = found.get(needed)
  if (capability === undefined) throw new Error(`capabilities() does not know ${needed}`)
  return capability.available ? false : `${capability.title}: ${capability.detail}`
}

export function trackerSubject(name: TrackerName): Subject {
  return {
    name, cannotFollow: new Set(CANNOT_FOLLOW[name]), exactFor: new Set(EXACT_FOR[name]),
    begin: (pid) => beginTracking(pid, [name]),
  }
}

/** Tracking with its own engine, which ends with it. */
export async function beginTracking(pid: number, trackers: readonly TrackerName[] | undefined): Promise<Tracking> {
  const target = await attach(pid)
  try {
    const tracking = await target.track(trackers === undefined ? {} : { trackers })
    return {
      collect: () => tracking.collect(),
      [Symbol.asyncDispose]: async () => {
        await tracking[Symbol.asyncDispose]()
        await target[Symbol.asyncDispose]()
      },
    }
  } catch (error) {
    await target[Symbol.asyncDispose]()
    throw error
  }
}

export function oracleSubject(loses?: Lossy): Subject {
  const all = new Set([...ANONYMOUS, 'deep', ...SHMEM, ...FILES, 'owned', 'hugetlb'])
  return { name: 'oracle', cannotFollow: new Set(), exactFor: all, begin: (pid) => Promise.resolve(new OracleTracker(pid, loses)) }
}
