import type { PageNumber } from '../memory/address.ts'
import type { PageRange } from '../memory/page-range.ts'
import type { RegionList } from '../memory/region-list.ts'

/**
 * What a page-table entry says of its page; the values are those of PAGEMAP_SCAN's categories
 * (include/uapi/linux/fs.h, Linux 6.7), so nothing is translated on the way.
 */
export const PageState = {
  /** The page is of a mapping registered for asynchronous write-protection. */
  protectable: 1 << 0,
  /** Written since it was last protected, or never protected. */
  written: 1 << 1,
  file: 1 << 2,
  present: 1 << 3,
  /** Not in memory but not nothing: in swap, migrating, or a marker. */
  swapped: 1 << 4,
  zero: 1 << 5,
  huge: 1 << 6,
  /** Written since clear_refs, where the kernel has soft-dirty (Linux 6.8 reports it so). */
  softDirty: 1 << 7,
  /** A guard region's page, which nobody may touch (since 6.13). Not reported by kernels whose scan does not know it. */
  guard: 1 << 8,
} as const

/**
 * What an entry holds that is not in memory and not nothing. All of these read as {@link PageState.swapped}, yet only
 * the first is in swap: the others are markers, which the kernel leaves where there is no page.
 */
export const AbsentEntry = {
  swap: 1,
  guard: 2,
  /** Nothing but userfaultfd's write-protection of a page that is not there. */
  protected: 3,
  /** An access is answered with SIGBUS. */
  poisoned: 4,
  /** In memory, on its way to another place there. */
  moving: 5,
  /** Any of the above: only CAP_SYS_ADMIN is told which. */
  hidden: 6,
  /** {@link hidden}, and write-protected by userfaultfd: in swap, or nothing but the protection. */
  hiddenProtected: 7,
} as const

export interface ScanQuery {
  /** Only pages with all of these states. */
  readonly all: number
  /** Only pages with none of these. */
  readonly none: number
  /** Only pages with at least one of these; 0 asks for none. */
  readonly any: number
  /** The states to report. `all === report === written` with no `any` is the kernel's fast path. */
  readonly report: number
  /** Write-protect exactly the reported pages, atomically with the report. */
  readonly protect: boolean
  /** Stop at the first mapping that is not registered for asynchronous write-protection; what was found before it is lost. */
  readonly trackedOnly: boolean
  /**
   * About how many pages to find at once, where it matters: while the kernel looks, mmap(2) and munmap(2) of the process wait,
   * 6 ms per GiB of 4 KiB pages.
   */
  readonly pagesAtOnce?: number
}

export type ScanOutcome =
  | { readonly kind: 'done' }
  | { readonly kind: 'full'; readonly next: PageNumber }
  | { readonly kind: 'untracked'; readonly at: PageNumber }
  | { readonly kind: 'gone' }

/** The page tables of one process. */
export interface PageTables {
  /**
   * Appends to `found` the regions of `range` that match, in ascending order; gaps between mappings are skipped.
   * `full` means `found` has no room left and the scan is to go on from `next`.
   */
  scan(range: PageRange, query: ScanQuery, found: RegionList): ScanOutcome
  /** Appends the parts of `range` that hold one of {@link AbsentEntry}, with which it is as their state. Costs a step per page. */
  absent(range: PageRange, found: RegionList): ScanOutcome
  /**
   * Appends the pages that read as swapped and of which nothing is left but a marker. Where a marker may not be told from a
   * page in swap (without CAP_SYS_ADMIN) every page that reads as swapped.
   */
  lost(range: PageRange, found: RegionList): ScanOutcome
}
