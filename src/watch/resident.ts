import { isFileBacked, type Mapping } from '../memory/mapping.ts'
import { RegionList } from '../memory/region-list.ts'
import { PageState } from '../kernel/page-tables.ts'
import type { Process } from '../kernel/process.ts'
import { drain, POPULATED } from '../tracking/tracker.ts'

export interface Resident {
  readonly presentPages: number
  /** Of memory without a file. Of files and shared memory no page table tells it. */
  readonly swappedPages: number
  readonly hugePages: number
}

const NOTHING: Resident = { presentPages: 0, swappedPages: 0, hugePages: 0 }

/** How much of each mapping is in memory. A look costs 0.5 to 4 ms per GiB. */
export class ResidentPages {
  readonly #process: Process
  readonly #found = new RegionList(4096)
  #byStart = new Map<number, Resident>()

  constructor(process: Process) {
    this.#process = process
  }

  look(mappings: readonly Mapping[]): void {
    // [vsyscall] lies beyond what page tables of processes hold.
    this.#byStart = new Map(mappings.filter(({ path }) => path !== '[vsyscall]').map((mapping) => [mapping.start, this.#count(mapping)]))
  }

  of(mapping: Mapping): Resident {
    return this.#byStart.get(mapping.start) ?? NOTHING
  }

  #count(mapping: Mapping): Resident {
    const query = { all: 0, none: 0, any: POPULATED, report: PageState.present | PageState.huge, protect: false, trackedOnly: false }
    let presentPages = 0
    let swappedPages = 0
    let hugePages = 0
    drain((start, found) => this.#process.pageTables.scan({ start, end: mapping.end }, query, found), mapping.start, this.#found, (regions) => {
      for (let i = 0; i < regions.length; i++) {
        const pages = regions.ends[i]! - regions.starts[i]!
        if ((regions.states[i]! & PageState.present) !== 0) presentPages += pages
        else if (!isFileBacked(mapping)) swappedPages += pages
        if ((regions.states[i]! & PageState.huge) !== 0) hugePages += pages
      }
    })
    return { presentPages, swappedPages, hugePages }
  }
}
