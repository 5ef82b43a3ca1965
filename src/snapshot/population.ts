import type { Mapping } from '../memory/mapping.ts'
import { pageCount } from '../memory/page-range.ts'
import { RegionList } from '../memory/region-list.ts'
import { PageState } from '../kernel/page-tables.ts'
import type { Process } from '../kernel/process.ts'
import { drain } from '../tracking/tracker.ts'

/** How much there is to save, by a look at the page tables. */
export interface Population {
  readonly mappings: number
  readonly pages: number
  readonly hugePages: number
  /** Of huge pages that are mapped as small ones. */
  readonly splitPages?: number
  /** Pages that shared objects have, whether or not the target has mapped them. */
  readonly sharedPages: number
  /** Of private memory: page tables do not show the other. */
  readonly swappedPages: number
}

/** Counts the populated pages of the mappings that are wanted. Costs 0.5 to 4 ms per GiB. */
export function measurePopulation(process: Process, wanted: (mapping: Mapping) => boolean, found = new RegionList(4096)): Population {
  let pages = 0
  let hugePages = 0
  let sharedPages = 0
  let swappedPages = 0
  const query = { all: 0, none: 0, any: PageState.present | PageState.swapped, report: PageState.huge | PageState.swapped, protect: false, trackedOnly: false }
  const mappings = process.mappings()
  for (const mapping of mappings) {
    if (!wanted(mapping)) continue
    if (mapping.shared) {
      const data = process.dataRanges(mapping)
      sharedPages += (data === 'unknown' ? [mapping] : data).reduce((sum, range) => sum + pageCount(range), 0)
      continue
    }
    drain((start, list) => process.pageTables.scan({ start, end: mapping.end }, query, list), mapping.start, found, (regions) => {
      for (let i = 0; i < regions.length; i++) {
        const count = regions.ends[i]! - regions.starts[i]!
        pages += count
        if ((regions.states[i]! & PageState.huge) !== 0) hugePages += count
        if ((regions.states[i]! & PageState.swapped) !== 0) swappedPages += count
      }
    })
  }
  return { mappings: mappings.length, pages: pages + sharedPages, hugePages, sharedPages, swappedPages }
}
