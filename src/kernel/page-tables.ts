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
  /**
   * Appends the pages that read as swapped and of which nothing is left but a marker. Where a marker may not be told from a
   * page in swap (without CAP_SYS_ADMIN) every page that reads as swapped.
   */
  lost(range: PageRange, found: RegionList): ScanOutcome
}
