/**
 * What the guests print in their ready line, as types. Addresses are hex strings, because JSON has
 * no bigint; `BigInt(text)` reads them. Contents are described at the top of each guest's source.
 */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject
export interface JsonObject {
  readonly [key: string]: Json
}

export interface RegionInfo {
  readonly start: string
  readonly pages: number
}

interface ReadyInfo {
  readonly pid: number
  readonly ready: true
  readonly pageBytes: number
}

export interface LedgerInfo {
  readonly start: string
  readonly entries: number
  readonly entryBytes: number
}

export interface WaveThreadInfo extends RegionInfo {
  readonly tid: number
  readonly published: string
  readonly struct: string
  readonly tag: string
  readonly vectors: string
  readonly cold?: RegionInfo
}

export interface WavefrontInfo extends ReadyInfo {
  readonly guest: 'wavefront'
  readonly kind: 'anon' | 'shared' | 'thp' | 'file'
  readonly churn: boolean
  readonly firstOffset: number
  readonly lastOffset: number
  readonly avx: boolean
  /** Where the loop's code lies. Only there the registers mean what wavefront-loop.h says. */
  readonly code: { readonly start: string; readonly end: string }
  readonly threads: readonly WaveThreadInfo[]
  readonly ledger?: LedgerInfo
}

export interface VictimInfo extends ReadyInfo {
  readonly guest: 'victim'
  readonly kind: 'anon' | 'thp'
  readonly threads: number
  readonly regions: readonly [RegionInfo]
  readonly sequence: string
}

export interface VictimMark extends JsonObject {
  readonly reply: 'mark'
  readonly worstGapNs: number
  readonly gapsOver1ms: number
  readonly gapsOver100us: number
  readonly sumGapsOver100usNs: number
  readonly writes: number
  readonly missedWrites: number
  readonly sinceNs: number
}

export interface VictimFork extends JsonObject {
  readonly reply: 'fork'
  readonly forkNs: number
  readonly childTotalNs: number
  readonly childStatus: number
  readonly bytes: number
}

export interface BlockedInfo extends Omit<ReadyInfo, 'pageBytes'> {
  readonly guest: 'blocked'
  readonly toleranceNs: number
  readonly threads: readonly { readonly tid: number; readonly call: string }[]
}

/** What `mark` answers and the last line holds. */
export interface BlockedCounts {
  readonly toleranceNs: number
  readonly calls: {
    readonly [call: string]: {
      readonly count: number
      readonly worstLateNs: number
      readonly worstEarlyNs: number
      readonly eintr: number
      readonly wrong: number
    }
  }
  readonly signals: { readonly sent: number; readonly handled: number; readonly eintr: number }
}

/** A block whose contents follow the ledger's rule for its generation, for ever. */
export interface BlockInfo extends RegionInfo {
  readonly name: string
  readonly generation: number
  /** PROT_NONE: readable through /proc/PID/mem, and not by the program itself. */
  readonly noAccess?: boolean
}

export interface OddInfo extends ReadyInfo {
  readonly guest: 'odd'
  readonly mode: string
  readonly blocks: readonly BlockInfo[]
  readonly ledger?: LedgerInfo
  /** Both mappings of one memory; see `alias` in odd-memory.h. */
  readonly alias?: { readonly first: string; readonly second: string; readonly pages: number }
  readonly uffd?: RegionInfo
  readonly threads?: number
  readonly mappings?: number
  readonly child?: number
  readonly blockedTid?: number
  readonly reserved?: RegionInfo
}

export interface ScribeInfo extends ReadyInfo {
  readonly guest: 'scribe'
}

/** A region with a drawing of its pages, by count and sign: see pagekinds-regions.h. */
export interface DrawnRegion extends RegionInfo {
  readonly name: string
  readonly drawing: string
}

export interface PagekindsInfo extends ReadyInfo {
  readonly guest: 'pagekinds'
  readonly regions: readonly DrawnRegion[]
}

/** One step of the rounds runs through the hot set; the cold one is a block of generation 1. */
export interface HotColdInfo extends ReadyInfo {
  readonly guest: 'hotcold'
  readonly kind: 'anon' | 'shared' | 'file'
  readonly firstOffset: number
  readonly lastOffset: number
  readonly hot: RegionInfo
  readonly cold: RegionInfo
}

export interface GuestInfos {
  readonly hotcold: HotColdInfo
  readonly wavefront: WavefrontInfo
  readonly victim: VictimInfo
  readonly blocked: BlockedInfo
  readonly odd: OddInfo
  readonly scribe: ScribeInfo
  readonly pagekinds: PagekindsInfo
}
