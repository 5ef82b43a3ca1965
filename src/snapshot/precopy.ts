import { fillsOnDemand, isFileBacked, type Mapping } from '../memory/mapping.ts'
import { intersection, type PageRange } from '../memory/page-range.ts'
import { RegionList } from '../memory/region-list.ts'
import { PageState } from '../kernel/page-tables.ts'
import type { Stopped } from '../tracee/freeze.ts'
import { whileStopped } from '../tracee/freeze.ts'
import { WpAsyncTracker } from '../tracking/wp-async.ts'
import { kernelWorkers, sharedWriters, untracked, type BlindSpot } from './blind-spots.ts'
import type { Capture } from './capture.ts'
import { forecastPrecopyStop } from './forecast.ts'
import { keepPause } from './pause-budget.ts'
import { PrecopyRounds } from './precopy-rounds.ts'
import type { Share } from './selection.ts'
import type { Moment, Strategy, StrategyLimits } from './strategy.ts'
import { readThreads } from './threads.ts'

/** Below this a stretch that reads as written is copied without asking whether there are pages. */
const ASK_PAGES_MIN = 8

/**
 * Copies everything while the target runs, then again what it has written since, in rounds, until little is left;
 * then stops it for the rest: a scan and a copy into memory that is already there.
 */
export const precopy: Strategy = {
  name: 'precopy',
  take(capture, limits) {
    capture.watcher.emit({ kind: 'phase', phase: 'arming' })
    using tracker = trackWhole(capture, limits)
    return takePrecopy(capture, limits, tracker)
  },
}

/** Tracks every mapping that goes into the image as a whole. */
export function trackWhole(capture: Capture, limits: StrategyLimits): WpAsyncTracker {
  const tracker = new WpAsyncTracker(capture.kernel, capture.process, limits.freezeTimeoutNs)
  try {
    tracker.adoptAll((mapping) => capture.share(mapping) === 'whole')
    return tracker
  } catch (error) {
    tracker[Symbol.dispose]()
    throw error
  }
}

/** The strategy proper, with a tracker that may have been used to measure first. */
export function takePrecopy(capture: Capture, limits: StrategyLimits, tracker: WpAsyncTracker): Moment {
  const { kernel, process } = capture
  const rounds = new PrecopyRounds(capture, tracker)
  rounds.first()
  while (rounds.worthAnother(limits)) rounds.another()
  const hidden = process.hiddenWriters()
  const fixedPages = hidden.fixedBuffers.reduce((pages, { start, end }) => pages + end - start, 0)
  keepPause(capture, limits, forecastPrecopyStop(rounds.mappings, rounds.populatedPages, rounds.expectedPages + fixedPages + rounds.untrackedPages()))
  const spots = [...untracked(hidden), ...sharedWriters(capture, process.mappings())]
  capture.watcher.emit({ kind: 'phase', phase: 'pausing' })
  const last = new LastStop(capture, tracker, rounds, hidden.fixedBuffers)
  const moment = whileStopped(kernel, process.pid, { timeoutNs: limits.freezeTimeoutNs, threads: 'all' }, (stopped) => last.take(stopped))
  const { stopped } = moment
  capture.workingSet.giveBack()
  capture.flushHeld()
  tracker.end((mapping) => capture.share(mapping) === 'whole')
  for (const range of last.dropped) capture.erase(range)
  return {
    threads: moment.threads, mappings: moment.mappings,
    pauseNs: stopped.releasedNs - stopped.startedNs, freezeNs: stopped.frozenNs - stopped.startedNs, armingNs: tracker.stopNsMax,
    roundPages: [...rounds.history.map(({ pages }) => pages), last.heldPages], dirtyAtPausePages: last.heldPages,
    blindSpots: merged([...kernelWorkers(moment.workers), ...spots, ...sharedWriters(capture, moment.mappings), ...rounds.changedFiles(moment.mappings)]),
    extraBytesMax: 0,
  }
}

function rangeAt(regions: RegionList, i: number): PageRange {
  return { start: regions.starts[i]! as PageRange['start'], end: regions.ends[i]! as PageRange['end'] }
}

function merged(spots: readonly BlindSpot[]): BlindSpot[] {
  const byKey = new Map(spots.map((spot) => [`${spot.kind} ${spot.mapping?.start ?? ''}`, spot]))
  return [...byKey.values()]
}

/** What happens while everything stands still. Allocates little, and writes to memory that is already there. */
class LastStop {
  heldPages = 0
  /** Ranges whose pages the target has dropped since a round saved them. */
  readonly dropped: PageRange[] = []
  readonly #capture: Capture
  readonly #tracker: WpAsyncTracker
  readonly #rounds: PrecopyRounds
  readonly #always: readonly PageRange[]
  readonly #inner = new RegionList(4096)
  readonly #short = new RegionList(4096)

  constructor(capture: Capture, tracker: WpAsyncTracker, rounds: PrecopyRounds, always: readonly PageRange[]) {
    this.#capture = capture
    this.#tracker = tracker
    this.#rounds = rounds
    this.#always = always
  }

  take(stopped: Stopped) {
    const { kernel, process } = this.#capture
    kernel.clock.urgent(true)
    const mappings = process.mappings()
    for (const mapping of mappings) this.#takeMapping(mapping, mappings)
    for (const range of this.#always) {
      for (const mapping of mappings) {
        const part = intersection(range, mapping)
        if (part !== undefined && this.#capture.share(mapping) === 'whole') this.#holdRange(mapping, part)
      }
    }
    return { stopped, mappings, threads: readThreads(kernel, stopped, this.#capture.copyBlock), workers: stopped.kernelWorkers }
  }

  #takeMapping(mapping: Mapping, mappings: readonly Mapping[]): void {
    const capture = this.#capture
    const share = capture.share(mapping)
    if (share === 'none' || (share === 'first-page' && this.#rounds.hasHead(mapping))) return
    if (share === 'first-page' || this.#rounds.isUnreliable(mapping)) {
      this.#holdContents(mapping, share)
      return
    }
    if (!this.#tracker.covers(mapping)) {
      this.#takeNew(mapping, mapping)
      return
    }
    const anonymous = !isFileBacked(mapping)
    const peek = anonymous || mapping.shared ? 'peekWritten' : 'peekChanged'
    const aliases = this.#rounds.aliasesOf(mapping, mappings)
    const newFrom = capture.drain((start, found) => this.#tracker[peek]({ start, end: mapping.end }, found), mapping.start, (regions) => {
      if (anonymous) this.#holdPopulated(mapping, regions)
      else if (!mapping.shared) this.#holdChanged(mapping, regions)
      else this.#holdData(mapping, aliases, regions)
    })
    if (newFrom !== undefined) this.#takeNew(mapping, { start: newFrom, end: mapping.end })
    else if (!anonymous && !mapping.shared) this.#takeGivenUp(mapping)
  }

  /** A page that was saved as the program's own, given up and read again is the file's, and marked as if nothing had been. */
  #takeGivenUp(mapping: Mapping): void {
    const { ownPages } = this.#rounds
    if (!ownPages.hasAny(mapping)) return
    const query = { all: PageState.file | PageState.present, none: PageState.written, any: 0, report: PageState.present, protect: false, trackedOnly: false }
    this.#capture.drain((start, found) => this.#capture.process.pageTables.scan({ start, end: mapping.end }, query, found), mapping.start, (regions) => {
      for (let i = 0; i < regions.length; i++) for (const page of ownPages.within(rangeAt(regions, i))) this.#holdPage(mapping, page)
    }, this.#inner)
  }

  #holdPage(mapping: Mapping, page: number): void {
    this.#short.clear()
    this.#short.push(page, page + 1)
    this.#hold(mapping, this.#short)
  }

  /** Of what is not written and not in memory, a page in swap is as it was saved; where only a marker is, the file's contents are again. */
  #holdChanged(mapping: Mapping, regions: RegionList): void {
    const { pageTables } = this.#capture.process
    this.#short.clear()
    for (let i = 0; i < regions.length; i++) {
      const range = rangeAt(regions, i)
      if ((regions.states[i]! & PageState.written) !== 0) this.#short.push(range.start, range.end)
      else this.#capture.drain((start, found) => pageTables.lost({ start, end: range.end }, found), range.start, (lost) => this.#hold(mapping, lost), this.#inner)
    }
    this.#hold(mapping, this.#short)
  }

  /** What the object has of the regions: holes were never marked, and reading one would fill it for good. */
  #holdData(mapping: Mapping, aliases: readonly Mapping[], regions: RegionList): void {
    if (regions.length === 0) return
    const data = this.#capture.dataRanges(mapping)
    for (let i = 0; i < regions.length; i++) {
      for (const range of data) {
        const part = intersection(rangeAt(regions, i), range)
        if (part === undefined) continue
        this.#short.clear()
        this.#short.push(part.start, part.end)
        this.#hold(mapping, this.#short)
        for (const alias of aliases) this.#hold(alias, this.#rounds.projected(mapping, this.#short, alias))
      }
    }
  }

  /** A mapping nobody tracks: born since the last round, moved here, or not registerable. */
  #takeNew(mapping: Mapping, range: PageRange): void {
    if (fillsOnDemand(mapping)) this.#holdContents(mapping, 'whole')
    else this.#holdRange(mapping, range)
  }

  /** All that the image wants of a mapping; where a shared object has holes now, what a round saved is dropped. */
  #holdContents(mapping: Mapping, share: Share): void {
    let gapFrom: number = mapping.start
    this.#capture.forContents(this.#capture.process, mapping, share, (regions) => {
      this.#hold(mapping, regions)
      for (let i = 0; i < regions.length; i++) {
        this.#drop(gapFrom, regions.starts[i]!)
        gapFrom = regions.ends[i]!
      }
    })
    if (share === 'whole') this.#drop(gapFrom, mapping.end)
  }

  /** Of regions that read as written, the long ones are mostly holes that were never marked. */
  #holdPopulated(mapping: Mapping, regions: RegionList): void {
    this.#short.clear()
    for (let i = 0; i < regions.length; i++) {
      const range = rangeAt(regions, i)
      if (range.end - range.start >= ASK_PAGES_MIN) this.#holdRange(mapping, range)
      else this.#short.push(range.start, range.end)
    }
    this.#hold(mapping, this.#short)
  }

  /** The populated pages of a range; the gaps between them are remembered as dropped. */
  #holdRange(mapping: Mapping, range: PageRange): void {
    let gapFrom: number = range.start
    this.#capture.forPopulated(this.#capture.process, range, (populated) => {
      this.#hold(mapping, populated)
      for (let i = 0; i < populated.length; i++) {
        this.#drop(gapFrom, populated.starts[i]!)
        gapFrom = populated.ends[i]!
      }
    }, this.#inner)
    this.#drop(gapFrom, range.end)
  }

  #drop(from: number, to: number): void {
    const range = { start: from, end: to } as PageRange
    if (from < to && this.#capture.hasAny(range)) this.dropped.push(range)
  }

  #hold(mapping: Mapping, regions: RegionList): void {
    this.heldPages += regions.pageCount()
    this.#capture.hold(this.#capture.process, mapping, regions)
  }
}

