import { pageCount } from '../memory/page-range.ts'
import { PageState } from '../kernel/page-tables.ts'
import type { Capture } from './capture.ts'
import type { StrategyName } from './strategy.ts'

/** What a snapshot by one strategy is expected to cost. */
export interface StrategyForecast {
  readonly pauseNs: number
  readonly totalNs: number
  readonly extraMemoryBytes: number
  readonly writtenBytes: number
  /** Whether the rounds of a pre-copy shrink; true for strategies that have none. */
  readonly converges: boolean
}

export type Forecast = Partial<Readonly<Record<StrategyName, StrategyForecast>>>

/**
 * What the parts of a pause cost, in nanoseconds: measured on a 2-core x86-64 virtual machine with Linux 6.18,
 * 4 KiB pages, and a little rounded up. They decide which strategy is tried; what is reported is always measured.
 */
const COST = {
  /** Stop all threads, read their registers, let them go. */
  freeze: 350_000,
  /** Make a helper in the target. */
  helper: 1_200_000,
  /** Look at one clean page-table entry. */
  scanPage: 1.6,
  /** Copy a scattered page into memory. */
  holdPage: 1_000,
  /** Copy a page to the file. */
  savePage: 1_900,
  /** Bring a page in from swap, in memory at that, and give it back. A disk takes longer. */
  swappedPage: 11_000,
  /** Visit one mapping, when the last stop of a pre-copy scans it and when the others look what there is. */
  scanMapping: 8_000,
  visitMapping: 2_500,
  /** Copy one page-table entry of 4 KiB, and of a huge page, in a fork. */
  forkPage: 110,
  forkHugePage: 4,
} as const

/** How much there is to save, by a look at the page tables. */
export interface Population {
  readonly mappings: number
  readonly pages: number
  readonly hugePages: number
  /** Pages that shared objects have, whether or not the target has mapped them. */
  readonly sharedPages: number
  /** Of private memory: page tables do not show the other. */
  readonly swappedPages: number
}

export function measurePopulation(capture: Capture): Population {
  let pages = 0
  let hugePages = 0
  let sharedPages = 0
  let swappedPages = 0
  const query = { all: 0, none: 0, any: PageState.present | PageState.swapped, report: PageState.huge | PageState.swapped, protect: false, trackedOnly: false }
  for (const mapping of capture.process.mappings()) {
    if (capture.share(mapping) !== 'whole') continue
    if (mapping.shared) {
      sharedPages += capture.process.dataRanges(mapping).reduce((sum, range) => sum + pageCount(range), 0)
      continue
    }
    capture.drain((start, found) => capture.process.pageTables.scan({ start, end: mapping.end }, query, found), mapping.start, (regions) => {
      for (let i = 0; i < regions.length; i++) {
        const count = regions.ends[i]! - regions.starts[i]!
        pages += count
        if ((regions.states[i]! & PageState.huge) !== 0) hugePages += count
        if ((regions.states[i]! & PageState.swapped) !== 0) swappedPages += count
      }
    })
  }
  pages += sharedPages
  capture.expectPages(pages)
  return { mappings: capture.process.mappings().length, pages, hugePages, sharedPages, swappedPages }
}

export function forecastStop(capture: Capture, population = measurePopulation(capture)): number {
  return COST.freeze + population.mappings * COST.visitMapping + population.pages * COST.savePage + population.swappedPages * COST.swappedPage
}

export function forecastFork(capture: Capture, population = measurePopulation(capture)): number {
  const small = population.pages - population.hugePages - population.sharedPages
  return COST.freeze + COST.helper + population.mappings * COST.visitMapping + small * COST.forkPage + population.hugePages * COST.forkHugePage + population.sharedPages * COST.holdPage
}

/** The last stop of a pre-copy that leaves `dirtyPages` to be copied. */
export function forecastPrecopyStop(mappings: number, populatedPages: number, dirtyPages: number): number {
  return COST.freeze + mappings * COST.scanMapping + populatedPages * COST.scanPage + dirtyPages * COST.holdPage
}

/**
 * Pre-copy's rounds shrink to what is written during the shortest of them: `rate` pages per nanosecond times the time
 * to scan everything and copy that much. Above one page written per page copied they never shrink.
 */
export function forecastPrecopy(population: Population, writtenPagesPerNs: number): { readonly pauseNs: number; readonly converges: boolean } {
  const perPage = COST.holdPage + COST.savePage
  const converges = writtenPagesPerNs * perPage < 0.9
  const fixedNs = 500_000 + population.pages * COST.scanPage * 4
  const dirty = converges ? (writtenPagesPerNs * fixedNs) / (1 - writtenPagesPerNs * perPage) : population.pages
  return { pauseNs: forecastPrecopyStop(population.mappings, population.pages, Math.min(dirty, population.pages)), converges }
}
