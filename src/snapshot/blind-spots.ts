import { objectKey, type Mapping } from '../memory/mapping.ts'
import type { HiddenWriters } from '../kernel/process.ts'
import type { Capture } from './capture.ts'

/** Why memory in the image may not be of the one instant. */
export interface BlindSpot {
  readonly kind: 'shared-writers' | 'pinned' | 'direct-io' | 'kernel-workers' | 'unfrozen-shared' | 'file-changed'
  /** The mapping concerned; absent when the whole process is. */
  readonly mapping: Mapping | undefined
  readonly why: string
}

/** Shared mappings that go into the image, and who else writes them. */
export function sharedWriters(capture: Capture, mappings: readonly Mapping[]): BlindSpot[] {
  const shared = mappings.filter((mapping) => mapping.shared && capture.share(mapping) !== 'none')
  if (shared.length === 0) return []
  const writers = capture.process.otherWriters(new Set(shared.map(objectKey)))
  return shared.flatMap((mapping) => {
    const pids = writers.get(objectKey(mapping))
    return pids === undefined ? [] : [{ kind: 'shared-writers' as const, mapping, why: `process ${listed(pids)} can write it while the target is stopped` }]
  })
}

export function kernelWorkers(tids: readonly number[]): BlindSpot[] {
  return tids.length === 0 ? [] : [{ kind: 'kernel-workers', mapping: undefined, why: `io_uring's kernel threads (${listed(tids)}) cannot be stopped` }]
}

/** Writes that write-protection cannot see and that copying the registered buffers in the pause does not make good. */
export function untracked(writers: HiddenWriters): BlindSpot[] {
  const spots: BlindSpot[] = []
  const explained = writers.fixedBuffers.reduce((pages, { start, end }) => pages + end - start, 0)
  if (writers.pinnedPages > explained) {
    spots.push({ kind: 'pinned', mapping: undefined, why: `${writers.pinnedPages - explained} pages are pinned for a device, whose writes no tracking sees` })
  }
  if (writers.directFiles > 0) {
    spots.push({ kind: 'direct-io', mapping: undefined, why: `${writers.directFiles} files are open for O_DIRECT reading, whose data arrives unseen` })
  }
  return spots
}

function listed(ids: readonly number[]): string {
  return ids.length <= 3 ? ids.join(', ') : `${ids.slice(0, 3).join(', ')} and ${ids.length - 3} more`
}
