import { isFileBacked, objectKey, type Mapping } from '../memory/mapping.ts'
import type { PageNumber } from '../memory/address.ts'
import { PageBitmap } from '../memory/page-bitmap.ts'
import { RegionList } from '../memory/region-list.ts'
import { PageState } from '../kernel/page-tables.ts'
import type { WpAsyncTracker } from '../tracking/wp-async.ts'
import type { BlindSpot } from './blind-spots.ts'
import type { Capture } from './capture.ts'
import { forecastPrecopyStop } from './forecast.ts'
import { FEW_PAGES, HOLD_PAGES_MAX, SHRINKS } from './precopy-rules.ts'
import type { StrategyLimits } from './strategy.ts'

export interface Round {
  readonly pages: number
  readonly ns: number
}

/** So many new pages would lengthen the pause more than one more short stop does. */
const CATCH_UP_PAGES = 2048

const keyOf = (mapping: Mapping): string => `${mapping.start}-${mapping.end}-${objectKey(mapping)}`

/** The rounds of a pre-copy while the target runs, and what they know of each mapping. */
export class PrecopyRounds {
  readonly history: Round[] = []
  populatedPages = 0
  mappings = 0
  readonly #capture: Capture
  readonly #tracker: WpAsyncTracker
  /** Met in the last round, and not registered. */
  readonly #untracked: Mapping[] = []
  readonly #heads = new Set<string>()
  /** What {@link settledStamp} said before the first page of a file mapping was copied. */
  readonly #stamps = new Map<string, string | undefined>()
  /** Pages of private file mappings that were saved as the program's own. Given up since, they are the file's again. */
  readonly ownPages = new PageBitmap()
  #holding = false
  readonly #projection = new RegionList(4096)

  constructor(capture: Capture, tracker: WpAsyncTracker) {
    this.#capture = capture
    this.#tracker = tracker
  }

  first(): void {
    this.#round((mapping) => this.#begin(mapping))
    this.populatedPages = this.history[0]!.pages
  }

  another(): void {
    this.#round((mapping, mappings) => this.#again(mapping, mappings))
  }

  #round(visit: (mapping: Mapping, mappings: readonly Mapping[]) => void): void {
    const { kernel, process, watcher } = this.#capture
    const start = kernel.clock.nowNs()
    const before = this.#capture.copiedPages
    const mappings = process.mappings()
    this.mappings = mappings.length
    this.#untracked.length = 0
    this.#tracker.forgetAllBut(mappings)
    for (const mapping of mappings) visit(mapping, mappings)
    this.#catchUp()
    this.#capture.workingSet.giveBack()
    const round = { pages: this.#capture.copiedPages - before, ns: kernel.clock.nowNs() - start }
    this.history.push(round)
    watcher.emit({ kind: 'round', round: this.history.length, ...round })
  }

  /** Marks all that a mapping has, and copies it. In this order: what is written while we copy is then marked as written. */
  #begin(mapping: Mapping): void {
    const capture = this.#capture
    const share = capture.share(mapping)
    if (share === 'first-page' && !this.hasHead(mapping)) {
      this.#heads.add(keyOf(mapping))
      capture.forContents(capture.process, mapping, share, (regions) => capture.save(capture.process, mapping, regions))
    }
    if (share !== 'whole' || this.#tracker.isRefused(mapping)) return
    const save = (regions: RegionList): void => capture.save(capture.process, mapping, regions)
    const file = isFileBacked(mapping)
    if (file) this.#stamps.set(keyOf(mapping), settledStamp(capture, mapping))
    this.#tracker.clearStale(mapping, capture.found)
    capture.drain((start, found) => this.#tracker.markAll({ start, end: mapping.end }, found), mapping.start, file ? (regions) => this.#noteOwn(mapping, regions) : save)
    if (file && mapping.shared) this.#markData(mapping)
    if (file) capture.forContents(capture.process, mapping, share, save)
  }

  /**
   * What the object has and the target has not mapped is marked too. Reading maps it, and it would look written; and what is
   * paged out again would, in the pause.
   */
  #markData(mapping: Mapping): void {
    const capture = this.#capture
    if (capture.detail(mapping)?.hugetlb) return
    for (const range of capture.dataRanges(mapping)) {
      capture.drain((start, found) => this.#tracker.markUnmapped({ start, end: range.end }, found), range.start, () => {})
    }
  }

  #noteOwn(mapping: Mapping, regions: RegionList): void {
    if (mapping.shared || !isFileBacked(mapping)) return
    for (let i = 0; i < regions.length; i++) {
      if ((regions.states[i]! & PageState.file) !== 0) continue
      for (let page = regions.starts[i]!; page < regions.ends[i]!; page++) this.ownPages.add(page as PageNumber)
    }
  }

  #again(mapping: Mapping, mappings: readonly Mapping[]): void {
    const capture = this.#capture
    if (capture.share(mapping) !== 'whole' || this.#tracker.isRefused(mapping)) {
      this.#begin(mapping)
      return
    }
    // The marks on another userfaultfd's mapping are not ours, neither to believe nor to set.
    if (!this.#tracker.isTracked(mapping, capture.found)) {
      this.#untracked.push(mapping)
      return
    }
    const aliases = this.aliasesOf(mapping, mappings)
    // Held pages come after saved ones in the file: once a round is held, so are those that follow.
    this.#holding ||= this.expectedPages < HOLD_PAGES_MAX
    const take = this.#holding ? capture.hold.bind(capture) : capture.save.bind(capture)
    capture.drain((start, found) => this.#tracker.takeWritten({ start, end: mapping.end }, found), mapping.start, (regions) => {
      this.#noteOwn(mapping, regions)
      take(capture.process, mapping, regions)
      for (const alias of aliases) take(capture.process, alias, this.projected(mapping, regions, alias))
    })
  }

  /** Mappings that came since are left to the pause, unless there is so much in them that another stop is worth it. */
  #catchUp(): void {
    if (this.#pagesOf(this.#untracked) < CATCH_UP_PAGES) return
    const starts = new Set(this.#untracked.map(({ start }) => start))
    this.#untracked.length = 0
    this.#tracker.adoptAll((mapping) => this.#capture.share(mapping) === 'whole')
    this.#capture.flushHeld()
    for (const mapping of this.#capture.process.mappings()) if (starts.has(mapping.start)) this.#begin(mapping)
  }

  #pagesOf(mappings: readonly Mapping[]): number {
    let pages = 0
    for (const mapping of mappings) {
      this.#capture.forPopulated(this.#capture.process, mapping, (populated) => { pages += populated.pageCount() })
    }
    return pages
  }

  /** Whether another round is likely to shorten the pause that is to come. */
  worthAnother(limits: StrategyLimits): boolean {
    const last = this.history.at(-1)!
    const before = this.history.at(-2)
    if (this.history.length >= limits.roundsMax) return false
    if (before === undefined) return true
    if (limits.pauseNsMax !== undefined && forecastPrecopyStop(this.mappings, this.populatedPages, this.expectedPages) <= limits.pauseNsMax / 2) return false
    return last.pages > FEW_PAGES && last.pages < before.pages * SHRINKS
  }

  /** How many pages the target will have written when it is stopped: as fast as it wrote in the round before the last, for as long as the last took. */
  get expectedPages(): number {
    const last = this.history.at(-1)!
    const before = this.history.at(-2)
    return before === undefined ? last.pages : Math.min(this.populatedPages, Math.ceil((last.pages / before.ns) * last.ns))
  }

  /** Pages that no tracking covers, all of which the pause will have to copy. */
  untrackedPages(): number {
    const refused = this.#capture.process.mappings().filter((mapping) => this.#capture.share(mapping) === 'whole' && this.#tracker.isRefused(mapping))
    return this.#pagesOf([...refused, ...this.#untracked])
  }

  hasHead(mapping: Mapping): boolean {
    return this.#heads.has(keyOf(mapping))
  }

  /** Shared memory whose object was written with write(2), punched or truncated: no page table tells of that. */
  isUnreliable(mapping: Mapping): boolean {
    if (!mapping.shared || !isFileBacked(mapping)) return false
    const before = this.#stamps.get(keyOf(mapping))
    return before === undefined || settledStamp(this.#capture, mapping) !== before
  }

  /** Files behind private mappings that changed: their pages that the target has not copied may be of different moments. */
  changedFiles(mappings: readonly Mapping[]): BlindSpot[] {
    return mappings.flatMap((mapping) => {
      const before = mapping.shared ? undefined : this.#stamps.get(keyOf(mapping))
      if (before === undefined || settledStamp(this.#capture, mapping) === before) return []
      return [{ kind: 'file-changed' as const, mapping, why: 'its file was written while it was saved' }]
    })
  }

  /** Other mappings of the same shared object: a write through one shows in no page table of the others. */
  aliasesOf(mapping: Mapping, mappings: readonly Mapping[]): Mapping[] {
    if (!mapping.shared || mapping.inode === 0) return []
    return mappings.filter((other) => other !== mapping && other.shared && objectKey(other) === objectKey(mapping) && this.#capture.share(other) === 'whole')
  }

  /** The same pages of the object as seen through another mapping. Valid until the next call. */
  projected(mapping: Mapping, regions: RegionList, alias: Mapping): RegionList {
    const list = this.#projection
    const pageBytes = 2 ** this.#capture.kernel.pageShift
    const shift = alias.start - mapping.start + (mapping.offset - alias.offset) / pageBytes
    list.clear()
    for (let i = 0; i < regions.length; i++) {
      const start = Math.max(alias.start, regions.starts[i]! + shift)
      const end = Math.min(alias.end, regions.ends[i]! + shift)
      if (start < end) list.push(start, end)
    }
    return list
  }
}

/** Changes when the file behind the mapping changes; `undefined` when that cannot be told, or it did a moment ago. */
function settledStamp(capture: Capture, mapping: Mapping): string | undefined {
  const stamp = capture.process.fileStamp(mapping)
  return stamp?.settled ? `${stamp.bytes} ${stamp.blocks} ${stamp.times}` : undefined
}
