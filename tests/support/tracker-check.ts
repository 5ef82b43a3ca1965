/** Whether a report names everything that changed, and kind words for what it does not. */
import type { HiddenWrites, MappingReport, WrittenReport } from '#dist/tracking/report.js'
import type { Change, Region, Scribe, Truth } from './scribe.ts'

/** What is asked of a report beyond the rule. */
export interface Allowance {
  /** Kinds of memory that the tracker's mechanism cannot follow, by the kernel's design. */
  readonly cannotFollow: ReadonlySet<string>
  /** Blind spots that excuse a missed write which a page table could know of. */
  readonly mayHide: readonly HiddenWrites['kind'][]
}

export interface Finding {
  /** One line each, for people; empty when nothing was missed. */
  readonly problems: readonly string[]
  readonly changedPages: number
  readonly reportedPages: number
  /** Of the changed pages, those that a blind spot stands for. */
  readonly coveredPages: number
  /** Reported pages of the regions that did not change. */
  readonly unchanged: readonly number[]
}

/** The pages of a report, for questions about single ones. */
export class ReportedPages {
  readonly #mappings: readonly { readonly start: number; readonly end: number; readonly report: MappingReport }[]
  /** Starts and ends by turns, ascending. */
  readonly #bounds: readonly number[]

  constructor(report: WrittenReport) {
    const page = (at: bigint | string): number => Number(BigInt(at) / BigInt(report.pageBytes))
    this.#mappings = report.mappings.map((mapping) => ({ start: page(mapping.start), end: page(mapping.end), report: mapping }))
    this.#bounds = report.mappings.flatMap(({ written }) => Array.from(written, page))
  }

  mappingAt(page: number): MappingReport | undefined {
    return this.#mappings.find(({ start, end }) => start <= page && page < end)?.report
  }

  has(page: number): boolean {
    let [low, high] = [0, this.#bounds.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#bounds[middle]! <= page) low = middle + 1
      else high = middle
    }
    return low % 2 === 1
  }

  /** Those of the region, ascending. */
  within(region: Region): number[] {
    return Array.from({ length: region.end - region.start }, (_, i) => region.start + i).filter((page) => this.has(page))
  }

  /** All ranges, each as start and end. */
  ranges(): (readonly [number, number])[] {
    return this.#bounds.flatMap((at, i) => (i % 2 === 0 ? [[at, this.#bounds[i + 1]!] as const] : []))
  }
}

const hex = (page: number, pageShift: number): string => `0x${(BigInt(page) << BigInt(pageShift)).toString(16)}`

/** Holds the report against the guest's truth for these regions. */
export function findMissed(scribe: Scribe, truth: Truth, report: WrittenReport, names: readonly string[], tracker: string, allowance: Allowance): Finding {
  const pages = new ReportedPages(report)
  const problems: string[] = []
  const explained = new Set<number>()
  let coveredPages = 0
  const check = (change: Change, what: 'written' | 'foreign' | 'zeroed'): void => {
    for (let page = change.start; page < change.end; page++) {
      explained.add(page)
      const region = scribe.regionAt(page)
      if (region === undefined || !names.includes(region.name) || pages.has(page)) continue
      const excuse = excuseFor(what, region, pages.mappingAt(page), report, allowance)
      if (excuse === undefined) coveredPages++
      else problems.push(describe(scribe, page, change, region, pages.mappingAt(page), tracker, `${what}, ${excuse}`))
    }
  }
  for (const what of ['written', 'foreign', 'zeroed'] as const) for (const change of truth[what]) check(change, what)
  for (const change of [...truth.fresh, ...truth.dropped]) for (let page = change.start; page < change.end; page++) explained.add(page)
  const reported = names.flatMap((name) => scribe.regions.get(name) ?? []).flatMap((region) => pages.within(region))
  return { problems: problems.slice(0, 8), changedPages: explained.size, reportedPages: reported.length, coveredPages, unchanged: reported.filter((page) => !explained.has(page)) }
}

/** Why the page should have been reported; undefined where the report says that it may have changed unseen. */
function excuseFor(what: string, region: Region, mapping: MappingReport | undefined, report: WrittenReport, { cannotFollow, mayHide }: Allowance): string | undefined {
  if (mapping === undefined) return 'and its mapping is not in the report'
  const spots = [...mapping.blindSpots, ...report.blindSpots]
  if (mapping.tracker === 'none' && cannotFollow.has(region.kind)) return spots.length > 0 ? undefined : 'and the mapping has no tracker and no blind spot says so'
  if (what === 'foreign') return spots.length > 0 ? undefined : 'not reported, and no blind spot says that others can write here'
  return spots.some(({ kind }) => mayHide.includes(kind)) ? undefined : 'not reported'
}

function describe(scribe: Scribe, page: number, change: Change, region: Region, mapping: MappingReport | undefined, tracker: string, what: string): string {
  const place = mapping === undefined ? 'no mapping of the report' : `${mapping.start}-${mapping.end} ${mapping.permissions} ${mapping.path || '(anonymous)'}, followed by ${mapping.tracker}`
  const blind = mapping === undefined || mapping.blindSpots.length === 0 ? '' : `, blind spots: ${mapping.blindSpots.map(({ kind }) => kind).join(', ')}`
  return `${tracker}: page ${hex(page, scribe.pageShift)}, page ${page - region.start} of ${region.name} (${region.kind}), ${what}; changed by command ${change.command} "${scribe.commandText(change.command)}"; mapping: ${place}${blind}`
}
