import type { Mapping } from '../memory/mapping.ts'
import type { PageRange } from '../memory/page-range.ts'
import type { RegionList } from '../memory/region-list.ts'
import type { PageTables } from './page-tables.ts'
import type { TargetMemory } from './target-memory.ts'

/** What only VmFlags in /proc/PID/smaps tells of a mapping, and how much of it is private memory. */
export interface MappingDetail {
  readonly dontDump: boolean
  /** Device memory or kernel-managed pages: never read. */
  readonly special: boolean
  readonly hugetlb: boolean
  /** Left out of a fork, or zeroed in it. */
  readonly missingInFork: boolean
  /** Whether it holds pages of its own: anonymous ones, present or swapped. */
  readonly hasAnonymous: boolean
  /** Whether some of it, shared memory too, is in swap. */
  readonly swapped: boolean
  /** Whether another process has the same pages since a fork, or the same file's. */
  readonly sharesPages: boolean
}

/** The identity of a process for the notes of a core file. */
export interface ProcessIdentity {
  readonly pid: number
  readonly parentPid: number
  readonly groupId: number
  readonly sessionId: number
  readonly uid: number
  readonly gid: number
  readonly state: string
  readonly nice: number
  readonly flags: number
  readonly name: string
  readonly commandLine: string
}

export interface ThreadTimes {
  readonly userMicroseconds: number
  readonly systemMicroseconds: number
  readonly childrenUserMicroseconds: number
  readonly childrenSystemMicroseconds: number
}

/** Of a file. Writing through a shared mapping changes its times as write(2) does (fault_dirty_shared_page(), mm/memory.c). */
export interface FileStamp {
  /** Its length, and how many blocks of it exist: hole punching takes some away. */
  readonly bytes: number
  readonly blocks: number
  readonly times: string
  /** The last change is older than the clock's tick: a later one would show. */
  readonly settled: boolean
}

/** Writers that write-protection cannot see. */
export interface HiddenWriters {
  /** Pages pinned for the kernel or a device (VmPin). */
  readonly pinnedPages: number
  /** io_uring's registered buffers, which explain pinned pages. */
  readonly fixedBuffers: readonly PageRange[]
  /** Files open for reading with O_DIRECT: their data arrives after the page was marked written, and unseen. */
  readonly directFiles: number
}

/** One target process, open. Everything but {@link pageTables} and {@link memory} is read from /proc. */
export interface Process extends Disposable {
  readonly pid: number
  readonly memory: TargetMemory
  readonly pageTables: PageTables
  /** The mappings now, in address order. The same array object when nothing changed since the last call. Throws 'gone'. */
  mappings(): readonly Mapping[]
  /** Details by first page. Walks the page tables: milliseconds per GiB, never in the pause. */
  details(): ReadonlyMap<number, MappingDetail>
  /** Where a shared mapping's object holds data, in pages of the mapping; 'unknown' where we may not look (CAP_CHECKPOINT_RESTORE). */
  dataRanges(mapping: Mapping): PageRange[] | 'unknown'
  /**
   * Appends what of a range of shared memory is not in memory, of the pages that its object has: it is in swap. Nothing for
   * files on a disk, and where it cannot be told.
   */
  swappedShared(mapping: Mapping, range: PageRange, found: RegionList): void
  /**
   * Asks the kernel to page the regions out. Pages that another process maps too stay. 'refused' when we may not
   * (CAP_SYS_NICE), or the kernel cannot (before Linux 5.10).
   */
  pageOut(regions: RegionList): 'done' | 'refused'
  /** When the file behind the mapping changed last, and how large it is; `undefined` when it cannot be told. */
  fileStamp(mapping: Mapping): FileStamp | undefined
  /** Which other processes can write the same memory, by {@link objectKey}. */
  otherWriters(objects: ReadonlySet<string>): Map<string, number[]>
  hiddenWriters(): HiddenWriters
  /** Pages pinned for the kernel or a device (VmPin); a quick look. */
  pinnedPages(): number
  /** Clears the soft-dirty bit of every page. Locks the memory map for writing and walks all of it. */
  clearSoftDirty(): void
  /** Its children now, of all its threads; empty where the kernel does not tell (CONFIG_PROC_CHILDREN). */
  children(): number[]
  /** Pages that KSM has merged with equal ones; 0 where the kernel does not tell. */
  mergedPages(): number
  /** The bits of /proc/PID/coredump_filter. */
  coredumpFilter(): number
  auxiliaryVector(): Uint8Array
  identity(): ProcessIdentity
  threadTimes(tid: number): ThreadTimes
  /** Stopped by job control at this moment. */
  jobStopped(): boolean
  /** Whether it runs in 32-bit mode. */
  is32Bit(): boolean
  /** Memory that no other process maps. Walks the page tables. */
  privateBytes(): number
}
