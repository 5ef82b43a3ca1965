/** What a look at every page of a process comes to: plain values, fit to travel between processes. */
import type { TrackerName } from '../tracking/report.ts'

/**
 * What a page of a mapping is; each is exactly one of these.
 * - mapped: in memory, in the process's page tables (Rss; hugetlb too, which Rss leaves out)
 * - zero: the shared page of zeros, which takes no memory
 * - cached: in memory, not in these page tables: a touch brings no I/O
 * - swapped: in swap, shared memory too
 * - fallocated: shared memory that is reserved and was never written: takes memory, reads as zeros
 * - hole: nothing; a touch gives zeros
 * - uncached: in its file only
 * - guard: a guard region's; a touch is SIGSEGV
 * - poisoned: a touch is SIGBUS
 * - pastEnd: past the end of the file; a touch is SIGBUS
 * - special: the kernel's own or a device's, whose page tables are not shown
 * - unknown: could not be told
 */
export const PAGE_STATES = ['mapped', 'zero', 'cached', 'swapped', 'fallocated', 'hole', 'uncached', 'guard', 'poisoned', 'pastEnd', 'special', 'unknown'] as const
export type PageStateName = (typeof PAGE_STATES)[number]

/** Beside its state, in the upper bits of a range's state. The first two are of mapped pages only. */
export const PageTrait = { file: 1 << 8, huge: 1 << 9, written: 1 << 10 } as const

/** Where a mapping's memory comes from. `special`: the kernel's own, or a device's. */
export const MAPPING_KINDS = ['anon', 'file', 'shmem', 'hugetlb', 'special'] as const
export type MappingKind = (typeof MAPPING_KINDS)[number]

/** The states add up to `pages`. */
export interface PageCounts extends Readonly<Record<`${PageStateName}Pages`, number>> {
  readonly pages: number
  /** Of the mapped ones: the process's own, and those of a file or of shared memory. */
  readonly anonPages: number
  readonly filePages: number
  /** Of the mapped ones: part of a huge page, counted in pages of the usual size. */
  readonly hugePages: number
  /** Of those mapped or in swap: written since they were last protected. Only there where something tracks writes at the moment. */
  readonly writtenPages?: number
}

/** Ranges of pages of one state, ascending and merged. */
export interface PageRanges {
  /** Byte addresses, two for each range: its start, and its end, which is not part of it. */
  readonly bounds: BigUint64Array
  /** For each range the state's place in {@link PAGE_STATES}, with {@link PageTrait}s. */
  readonly states: Uint16Array
}

export interface MappingPages extends PageCounts {
  /** `0x` and 16 hex digits. */
  readonly start: string
  readonly end: string
  readonly perms: string
  readonly path: string
  readonly kind: MappingKind
  /** The best mechanism by which its writes could be followed. */
  readonly tracker: TrackerName | 'none'
  /** Why not by the best of all. */
  readonly trackerWhy?: string
  /** What could not be told of it, and why. */
  readonly untold?: string
  /** Only when asked for. */
  readonly ranges?: PageRanges
}

export interface PagesReport {
  readonly pid: number
  readonly name: string
  readonly pageBytes: number
  readonly mappings: readonly MappingPages[]
  /** Over all mappings shown. As in smaps, memory that is mapped twice counts twice. */
  readonly total: PageCounts
  readonly byKind: Readonly<Partial<Record<MappingKind, PageCounts>>>
  readonly warnings: readonly string[]
}
