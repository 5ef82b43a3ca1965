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

  begin(mapping: PageRange): void {
    this.#missing = new Set(this.#own.within(mapping))
  }

  /** Regions with states `written`, `file` and `present`. Not present is in swap, or given up with a marker left: an own page then counts as changed. */
  visit(regions: RegionList, changed: PageSpans): void {
    for (let i = 0; i < regions.length; i++) {
      const state = regions.states[i]!
      const start = regions.starts[i]!
      const end = regions.ends[i]!
      if ((state & PageState.written) !== 0) changed.add(start, end)
      if ((state & PageState.file) !== 0) continue
      const present = (state & PageState.present) !== 0
      for (let page = start; page < end; page++) {
        if (!present && !this.#own.has(page as PageNumber)) continue
        this.#own.add(page as PageNumber)
        this.#missing.delete(page)
        if (!present) changed.add(page, page + 1)
      }
    }
  }

  /** What was not met again is the file's. */
  finish(changed: PageSpans): void {
    for (const page of this.#missing) {
      this.#own.delete(page as PageNumber)
      changed.add(page, page + 1)
    }
    this.#missing.clear()
  }
}
