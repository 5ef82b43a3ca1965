import type { Mapping } from '../memory/mapping.ts'
import type { TrackerName } from '../tracking/report.ts'
import type { MappingKind } from './report.ts'

/** Kinds that the kernel follows writes in by code of its own. */
export type TrackedKind = 'anon' | 'private-file' | 'shared-file' | 'shmem' | 'hugetlb'

/** What this kernel and user can do, as it was found by trying. */
export interface TrackerSupport {
  readonly wpAsync: ReadonlySet<TrackedKind>
  readonly softDirty: boolean
  readonly wpSync: ReadonlySet<TrackedKind>
}

export interface TrackerChoice {
  readonly tracker: TrackerName | 'none'
  /** Why not by the best; absent where it is the best. */
  readonly why?: string
}

/** VmFlags of a mapping that a userfaultfd has: for missing pages, for writes, for minor faults, for any access (7.3). */
const OWNED = ['um', 'uw', 'ui', 'ur']
/** Device memory; what the kernel keeps as it is (VM_DONTEXPAND, VM_MIXEDMAP); droppable memory; shadow stacks: never registered. */
const UNREGISTRABLE = ['io', 'pf', 'de', 'mm', 'dp', 'ss']

export function isOwned(flags: ReadonlySet<string>): boolean {
  return OWNED.some((flag) => flags.has(flag))
}

/** The best mechanism for a mapping, by its kind and VmFlags (userfaultfd_register(), Linux 6.18). Nothing is tried on the target. */
export function chooseTracker(mapping: Mapping, kind: MappingKind, flags: ReadonlySet<string>, support: TrackerSupport): TrackerChoice {
  if (kind === 'special') return { tracker: 'none', why: 'the kernel\'s own memory or a device\'s' }
  const next = (why: string): TrackerChoice => ({ tracker: support.softDirty ? 'soft-dirty' : 'compare', why })
  if (isOwned(flags)) return next('another userfaultfd has it')
  if (kind !== 'hugetlb' && UNREGISTRABLE.some((flag) => flags.has(flag))) return next('userfaultfd refuses such memory')
  // A shared mapping of a file opened for reading: only others write it, which no page table of this process tells.
  if (!flags.has('mw')) return { tracker: 'none', why: 'the process can never write it' }
  const tracked = trackedKind(mapping, kind)
  if (support.wpAsync.has(tracked)) return { tracker: 'wp-async' }
  const why = `WP_ASYNC cannot be had here for this kind of memory (${tracked})`
  if (support.softDirty) return { tracker: 'soft-dirty', why }
  return { tracker: support.wpSync.has(tracked) ? 'wp-sync' : 'compare', why }
}

function trackedKind(mapping: Mapping, kind: Exclude<MappingKind, 'special'>): TrackedKind {
  return kind === 'file' ? (mapping.shared ? 'shared-file' : 'private-file') : kind
}
