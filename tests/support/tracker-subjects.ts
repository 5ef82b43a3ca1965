/** What the contract is held against: the trackers of this machine, by the public API, and the oracle. */
import { attach } from 'tidemark'
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
  /** Kinds of which it promises no page that was not written, once the mark has been set on it. */
  readonly exactFor: ReadonlySet<string>
}

const ANONYMOUS = ['anon', 'apart', 'thp', 'heap', 'brk', 'stack', 'bss']
const SHMEM = ['shared', 'memfd', 'private-memfd', 'sysv']
const FILES = ['data', 'file', 'private-file']

/** Only WP_ASYNC registers mappings of ordinary files; nobody one that another userfaultfd holds (userfaultfd_register(), Linux 6.18). */
const CANNOT_FOLLOW: Readonly<Record<TrackerName, readonly string[]>> = {
  'wp-async': ['owned'], 'soft-dirty': [], 'wp-sync': [...FILES, 'owned'], compare: [],
}
const EXACT_FOR: Readonly<Record<TrackerName, readonly string[]>> = {
  'wp-async': [...ANONYMOUS, ...SHMEM, ...FILES], 'soft-dirty': [], 'wp-sync': [...ANONYMOUS, ...SHMEM], compare: [...ANONYMOUS, ...SHMEM, ...FILES, 'owned'],
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
