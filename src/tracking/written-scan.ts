import { isFileBacked, type Mapping } from '../memory/mapping.ts'
import type { PageRange } from '../memory/page-range.ts'
import type { PageSpans } from '../memory/page-spans.ts'
import { RegionList } from '../memory/region-list.ts'
import { PageState } from '../kernel/page-tables.ts'
import type { Process } from '../kernel/process.ts'
import { OwnPages } from './own-pages.ts'
import { drain, POPULATED } from './tracker.ts'

/** Hears of pages that were found written, and are to be protected. */
type Protect = (start: number, end: number) => void

/**
 * Finds what was written of a mapping that is registered for write-protection, by its kind:
 * anonymous memory, the populated pages that are not protected; shared memory, all that its object has, since a page that was
 * written and then taken out of memory leaves nothing in the page table; private mappings of files, see own-pages.ts.
 */
export class WrittenScan {
  readonly #process: Process
  /** Whether scanning sets the mark in the same step (PM_SCAN_WP_MATCHING; asynchronous protection only). */
  readonly #protects: boolean
  readonly #found = new RegionList(4096)
  readonly #ownPages = new OwnPages()

  constructor(process: Process, protects: boolean) {
    this.#process = process
    this.#protects = protects
  }

  /** All there is, whatever its mark. */
  everything(mapping: Mapping, into: PageSpans, protect: Protect): void {
    this.#look(mapping, 0, into, protect)
  }

  written(mapping: Mapping, into: PageSpans, protect: Protect): void {
    this.#look(mapping, PageState.written, into, protect)
  }

  #look(mapping: Mapping, all: number, into: PageSpans, protect: Protect): void {
    if (!isFileBacked(mapping)) this.#scan(mapping, all, POPULATED, into, protect)
    else if (!mapping.shared) this.#lookPrivateFile(mapping, all, into, protect)
    else {
      const data = this.#process.dataRanges(mapping)
      if (data === 'unknown') this.#scan(mapping, all, POPULATED, into, protect)
      else for (const range of data) this.#scan(range, all, 0, into, protect)
    }
  }

  #scan(range: PageRange, all: number, any: number, into: PageSpans, protect: Protect): void {
    const query = { all, none: 0, any, report: PageState.present, protect: this.#protects, trackedOnly: false }
    drain((start, found) => this.#process.pageTables.scan({ start, end: range.end }, query, found), range.start, this.#found, (regions) => {
      into.addRegions(regions)
      if (!this.#protects) for (let i = 0; i < regions.length; i++) protect(regions.starts[i]!, regions.ends[i]!)
    })
  }

  #lookPrivateFile(mapping: Mapping, all: number, into: PageSpans, protect: Protect): void {
    const { pageTables } = this.#process
    const query = { all: 0, none: 0, any: POPULATED, report: PageState.written | PageState.file | PageState.present, protect: this.#protects, trackedOnly: false }
    this.#ownPages.begin(mapping)
    drain((start, found) => pageTables.scan({ start, end: mapping.end }, query, found), mapping.start, this.#found, (regions) => {
      this.#ownPages.visit(regions, into)
      for (let i = 0; i < regions.length; i++) {
        if (all === 0) into.add(regions.starts[i]!, regions.ends[i]!)
        if (all === 0 || (regions.states[i]! & all) !== 0) protect(regions.starts[i]!, regions.ends[i]!)
      }
    })
    this.#ownPages.finish(into, (range, each) => {
      drain((start, found) => pageTables.lost({ start, end: range.end }, found), range.start, this.#found, (regions) => {
        for (let i = 0; i < regions.length; i++) for (let page = regions.starts[i]!; page < regions.ends[i]!; page++) each(page)
      })
    })
  }
}
