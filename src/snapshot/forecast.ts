import type { DirtyCurve } from './dirty-curve.ts'
import type { Population } from './population.ts'
import { FEW_PAGES, HOLD_PAGES_MAX, SHRINKS } from './precopy-rules.ts'
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
 * What the parts of a snapshot cost, in nanoseconds: measured on a 2-core x86-64 virtual machine with Linux 6.18,
 * 4 KiB pages, and a little rounded up. They decide which strategy is tried; what is reported is always measured.
 */
const COST = {
  /** Rehearse, and put the file together. */
  frame: 120_000_000,
  /** Stop all threads, read their registers, let them go. */
  freeze: 500_000,
  /** Make a helper in the target. */
  helper: 1_200_000,
  /** Look at one clean page-table entry. */
  scanPage: 1.6,
  /** Copy a scattered page into memory, in the pause and in a short round before it. */
  holdPage: 4_000,
  /** Of a long run of pages, one. */
  holdRunPage: 1_200,
  holdRound: 400_000,
  /** Copy a page to the file, and how much longer it takes for the first ones and for one that stands alone. */
  savePage: 2_100,
  saveFirst: 1_300,
  saveScattered: 3_500,
  /** Bring a page in from swap, in memory at that, and give it back. A disk takes longer. */
  swappedPage: 11_000,
  /** Visit one mapping, when the last stop of a pre-copy scans it and when the others look what there is. */
  scanMapping: 8_000,
  visitMapping: 2_500,
  /** Copy one page-table entry of 4 KiB, and of a huge page, in a fork. */
  forkPage: 110,
  forkHugePage: 4,
  /** And of a huge page that is mapped in small ones since tracking took it apart. */
  forkSplitPage: 40,
  /** Between a pre-copy's last round and its stop: other processes and files are looked through. */
  beforeStop: 2_000_000,
} as const

export function forecastStop(population: Population): number {
  return COST.freeze + population.mappings * COST.visitMapping + saveNs(population.pages) + population.swappedPages * COST.swappedPage
}

export function forecastFork(population: Population): number {
  const { hugePages, splitPages = 0, sharedPages } = population
  const small = population.pages - hugePages - splitPages - sharedPages
  return COST.freeze + COST.helper + population.mappings * COST.visitMapping + small * COST.forkPage + splitPages * COST.forkSplitPage + hugePages * COST.forkHugePage + sharedPages * COST.holdRunPage
}

/** The last stop of a pre-copy that leaves `dirtyPages` to be copied. */
export function forecastPrecopyStop(mappings: number, populatedPages: number, dirtyPages: number): number {
  return COST.freeze + mappings * COST.scanMapping + populatedPages * COST.scanPage + dirtyPages * COST.holdPage
}

/** Pages of the file that the first stretch of it waits for: memory for them has to be found. */
const FIRST_PAGES = 8192

function saveNs(pages: number): number {
  return pages * COST.savePage + Math.min(pages, FIRST_PAGES) * COST.saveFirst
}

/** A program that writes as fast as it can does so more slowly while it is copied: faults, and memory that is busy. */
const WRITES_WHILE_COPIED = 0.7

/**
 * Plays the rounds of a pre-copy: what one of them takes is what the next finds written. The rules are those of the real one.
 * `load`: how many tasks want each processor, ours among them.
 */
export function forecastPrecopy({ mappings, pages }: Population, curve: DirtyCurve, roundsMax: number, load = 1): { readonly pauseNs: number; readonly copyNs: number; readonly copiedPages: number; readonly converges: boolean } {
  const scanNs = mappings * COST.scanMapping + pages * COST.scanPage * 2
  let roundPages = pages
  let roundNs = (scanNs + saveNs(pages)) * load
  let copyNs = roundNs
  let copiedPages = pages
  let shrinks = true
  for (let round = 1; round < roundsMax && shrinks && roundPages > FEW_PAGES; round++) {
    const before = roundPages
    roundPages = curve.pagesWithin(roundNs * WRITES_WHILE_COPIED)
    const perPage = COST.savePage + COST.saveScattered * (1 - roundPages / pages)
    roundNs = (scanNs + COST.holdRound + roundPages * (roundPages < HOLD_PAGES_MAX ? COST.holdPage : perPage)) * load
    copyNs += roundNs
    copiedPages += roundPages
    shrinks = roundPages < before * SHRINKS
  }
  const dirty = curve.pagesWithin(roundNs + COST.beforeStop * load)
  return { pauseNs: forecastPrecopyStop(mappings, pages, dirty), copyNs, copiedPages, converges: shrinks || roundPages < HOLD_PAGES_MAX }
}

/** Every strategy's cost for a process of so many pages that writes as the curve says. `buffersBytes`: what any dump uses itself. */
export function forecastAll(population: Population, curve: DirtyCurve, pageBytes: number, buffersBytes: number, roundsMax: number, load = 1): Required<Forecast> {
  const precopy = forecastPrecopy(population, curve, roundsMax, load)
  const copyNs = saveNs(population.pages)
  const forkNs = forecastFork(population)
  const once = { writtenBytes: population.pages * pageBytes, converges: true }
  return {
    stop: { ...once, pauseNs: Math.round(forecastStop(population)), totalNs: Math.round(COST.frame + copyNs), extraMemoryBytes: buffersBytes },
    fork: {
      ...once, pauseNs: Math.round(forkNs), totalNs: Math.round(COST.frame + forkNs + copyNs),
      extraMemoryBytes: Math.round(buffersBytes + curve.pagesWithin(copyNs) * pageBytes),
    },
    precopy: {
      pauseNs: Math.round(precopy.pauseNs), totalNs: Math.round(COST.frame + COST.helper + precopy.copyNs), extraMemoryBytes: buffersBytes,
      writtenBytes: Math.round(precopy.copiedPages * pageBytes), converges: precopy.converges,
    },
  }
}
