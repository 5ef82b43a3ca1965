import { address, addressOf, formatAddress, pageOf, type PageShift } from '../memory/address.ts'
import { permissions, type Mapping } from '../memory/mapping.ts'
import { RegionList } from '../memory/region-list.ts'
import type { AddressSpace, FlaggedDetail } from '../kernel/address-space.ts'
import { TidemarkError } from '../kernel/errors.ts'
import { MappingSurvey, type SurveyContext, type SurveyedFlags } from './mapping-survey.ts'
import { MAPPING_KINDS, type MappingKind, type MappingPages, type PageCounts, type PagesReport } from './report.ts'
import { State, sumCounts, Tally } from './tally.ts'
import { chooseTracker, type TrackerSupport } from './tracker.ts'

/** Which mappings: the one that holds an address, or all of a path. */
export type MappingChoice = { readonly kind: 'address'; readonly address: bigint } | { readonly kind: 'path'; readonly path: string }

export interface SurveyPlan {
  /** All, when absent. */
  readonly only: MappingChoice | undefined
  readonly ranges: 'ranges' | 'counts'
}

/** For a mapping that came after smaps was read. */
const NO_FLAGS: SurveyedFlags = { flags: new Set(['mw']), swapBytes: 0 }
const READS_MAX = 3
const REGIONS = 8192

/** Every page of a process and what it is. The process runs on meanwhile, so what moves may be told as it was or as it is. */
export function surveyPages(space: AddressSpace, plan: SurveyPlan, support: TrackerSupport, shift: PageShift, checkAborted: () => void): PagesReport {
  const { mappings: all, details } = readMappings(space)
  const chosen = choose(all, plan.only, space.pid, shift)
  const context: SurveyContext = { space, shift, checkAborted, regions: new RegionList(REGIONS), entries: new RegionList(REGIONS) }
  const mappings = chosen.map((mapping) => surveyMapping(mapping, details.get(mapping.start) ?? NO_FLAGS, plan, support, context))
  const byKind: Partial<Record<MappingKind, PageCounts>> = {}
  for (const kind of MAPPING_KINDS) {
    const members = mappings.filter((mapping) => mapping.kind === kind)
    if (members.length > 0) byKind[kind] = sumCounts(members)
  }
  return { pid: space.pid, name: space.name, pageBytes: 2 ** shift, mappings, total: sumCounts(mappings), byKind, warnings: [] }
}

/** Mappings and their flags are read one after the other: again, when they have changed between. */
function readMappings(space: AddressSpace): { readonly mappings: readonly Mapping[]; readonly details: ReadonlyMap<number, FlaggedDetail> } {
  let mappings = space.mappings()
  for (let read = 1; ; read++) {
    const details = space.details()
    const after = space.mappings()
    if (after === mappings || read === READS_MAX) return { mappings: after, details }
    mappings = after
  }
}

function choose(all: readonly Mapping[], only: MappingChoice | undefined, pid: number, shift: PageShift): readonly Mapping[] {
  if (only === undefined) return all
  const chosen = all.filter(only.kind === 'path' ? ({ path }) => path === only.path || path === `${only.path} (deleted)` : holding(only.address, shift))
  if (chosen.length > 0) return chosen
  const what = only.kind === 'path' ? `of ${only.path}` : `at ${formatAddress(only.address)}`
  throw new TidemarkError('usage', `process ${pid} has no mapping ${what}`, { pid, hint: `\`tidemark pages ${pid}\` lists them` })
}

function holding(at: bigint, shift: PageShift): (mapping: Mapping) => boolean {
  const page = pageOf(address(at), shift)
  return ({ start, end }) => start <= page && page < end
}

function surveyMapping(mapping: Mapping, detail: SurveyedFlags, plan: SurveyPlan, support: TrackerSupport, context: SurveyContext): MappingPages {
  const tally = new Tally(plan.ranges)
  const survey = new MappingSurvey(mapping, detail, tally, context)
  survey.run()
  const { tracker, why } = chooseTracker(mapping, survey.kind, detail.flags, support)
  const ranges = tally.ranges(context.shift)
  const untold = tally.pages(State.unknown) > 0 ? survey.untold : undefined
  return {
    start: formatAddress(addressOf(mapping.start, context.shift)), end: formatAddress(addressOf(mapping.end, context.shift)),
    perms: permissions(mapping), path: mapping.path, kind: survey.kind, tracker, ...(why !== undefined && { trackerWhy: why }),
    ...tally.counts(survey.tracked), ...(untold !== undefined && { untold }), ...(ranges !== undefined && { ranges }),
  }
}
