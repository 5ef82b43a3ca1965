import type { PageNumber } from '../memory/address.ts'
import { PageBitmap } from '../memory/page-bitmap.ts'
import type { PageRange } from '../memory/page-range.ts'
import type { PageSpans } from '../memory/page-spans.ts'
import type { RegionList } from '../memory/region-list.ts'
import { PageState } from '../kernel/page-tables.ts'

/**
 * Which pages of private file mappings are the program's own, not the file's. Shown every populated region of a mapping,
 * it finds those that changed: written, or own once and the file's again.
 */
export class OwnPages {
  readonly #own = new PageBitmap()
  /** Own before, and not met again yet. */
  #missing = new Set<number>()
  /** Own, and not in memory; ascending. */
  readonly #outside = new Set<number>()

  begin(mapping: PageRange): void {
    this.#missing = new Set(this.#own.within(mapping))
  }

  /** Regions with states `written`, `file` and `present`. */
  visit(regions: RegionList, changed: PageSpans): void {
    for (let i = 0; i < regions.length; i++) {
      const state = regions.states[i]!
      const start = regions.starts[i]!
      const end = regions.ends[i]!
      if ((state & PageState.written) !== 0) changed.add(start, end)
      if ((state & PageState.file) !== 0) continue
      const present = (state & PageState.present) !== 0
      for (let page = start; page < end; page++) {
        if (present) this.#own.add(page as PageNumber)
        if (!this.#own.has(page as PageNumber)) continue
        this.#missing.delete(page)
        if (!present) this.#outside.add(page)
      }
    }
  }

  /**
   * What was not met again is the file's. What is not in memory is in swap, or given up with a marker left, of which `lost`
   * tells, when asked for a range.
   */
  finish(changed: PageSpans, lost: (range: PageRange, each: (page: number) => void) => void): void {
    if (this.#outside.size > 0) {
      const pages = [...this.#outside] as PageNumber[]
      lost({ start: pages[0]!, end: (pages.at(-1)! + 1) as PageNumber }, (page) => { if (this.#outside.has(page)) this.#missing.add(page) })
    }
    for (const page of this.#missing) {
      this.#own.delete(page as PageNumber)
      changed.add(page, page + 1)
    }
    this.#missing.clear()
    this.#outside.clear()
  }
}
