import type { Mapping } from '../memory/mapping.ts'
import type { PageTables } from './page-tables.ts'
import type { MappingDetail } from './process.ts'

/** VmFlags by their two letters (Documentation/filesystems/proc.rst), and how much of the mapping is in swap. */
export interface FlaggedDetail extends MappingDetail {
  readonly flags: ReadonlySet<string>
  /** Of shared memory too. Markers do not count. */
  readonly swapBytes: number
}

/** What can be seen of a process's memory without tracing it: nothing here stops it or touches a page of it. */
export interface AddressSpace extends Disposable {
  readonly pid: number
  readonly name: string
  readonly pageTables: PageTables
  /** As those of Process: the same array object when nothing changed since the last call. Throws 'gone'. */
  mappings(): readonly Mapping[]
  /** Details by first page. Walks the page tables, but stops nothing. */
  details(): ReadonlyMap<number, FlaggedDetail>
  /** The object behind a file mapping; valid until the next call. A refusal says why in words. */
  object(mapping: Mapping): MappedObject | { readonly kind: 'refused'; readonly why: string; readonly shmem: boolean }
}

/** At most so many pages can be asked for with {@link MappedObject.inMemory} at once. */
export const IN_MEMORY_PAGES_MAX = 32_768

/** How much of a stretch of an object is in the page cache. Both may count the same page while it moves. */
export interface Residence {
  cachedPages: number
  /** Taken out of the page cache by reclaim: of shared memory, these are in swap. */
  evictedPages: number
}

/** What a mapping maps: a file's or shared memory's pages, numbered from 0, whoever maps them. */
export interface MappedObject {
  readonly kind: 'file' | 'shmem' | 'hugetlb' | 'device'
  /** Its length, rounded up. */
  readonly pages: number
  /** All that is in memory of it; only told for hugetlb. */
  readonly residentPages: number
  /** Counts pages `start` up to `end` in one call, into `found`; 'unknown' where the kernel does not tell us. */
  residence(start: number, end: number, found: Residence): 'counted' | 'unknown'
  /**
   * A byte for each of pages `start` up to `end`, odd where it is in memory; `undefined` where the kernel does not tell. All odd
   * where it may not tell us. Memory that is reserved only is not, a page in swap may be. Valid until the next call.
   */
  inMemory(start: number, end: number): Uint8Array | undefined
  /** The first page from `page` on that holds data, in memory, in swap or on disk; `pages` when there is none. */
  nextData(page: number): number
  /** The first page from `page` on that holds none. Memory that is reserved only counts as that. */
  nextHole(page: number): number
}
