import type { PageRange } from './page-range.ts'

/** One mapping of a process, as a line of /proc/PID/maps tells it. */
export interface Mapping extends PageRange {
  readonly readable: boolean
  readonly writable: boolean
  readonly executable: boolean
  readonly shared: boolean
  /** Byte offset into the mapped file; 0 for anonymous memory. */
  readonly offset: number
  /** `major:minor` in hex, as the kernel prints it: `00:00` when no file is behind the mapping. */
  readonly device: string
  readonly inode: number
  /** The file's path, a name in brackets such as `[heap]`, or the empty string. ` (deleted)` is left on. */
  readonly path: string
}

/** Whether a file (or shmem object) is behind the mapping. */
export function isFileBacked(mapping: Mapping): boolean {
  return mapping.inode !== 0
}

/** Whether pages that were never touched have contents all the same: a file's, or the kernel's in [vdso]. */
export function fillsOnDemand(mapping: Mapping): boolean {
  return isFileBacked(mapping) || mapping.path === '[vdso]'
}

/** Shared memory that no descriptor leads to, MAP_SHARED|MAP_ANONYMOUS or of System V: it is written through mappings only. */
export function isWrittenThroughMappingsOnly(mapping: Mapping): boolean {
  return mapping.shared && /^\/(dev\/zero \(deleted\)$|SYSV[0-9a-f]{8}\b)/.test(mapping.path)
}

/** Permissions as the kernel prints them: `rw-p`. */
export function permissions(mapping: Mapping): string {
  return `${mapping.readable ? 'r' : '-'}${mapping.writable ? 'w' : '-'}${mapping.executable ? 'x' : '-'}${mapping.shared ? 's' : 'p'}`
}

/** Identifies the object behind a file mapping, so that two mappings of one file can be told to be aliases. */
export function objectKey(mapping: Mapping): string {
  return `${mapping.device}:${mapping.inode}`
}
