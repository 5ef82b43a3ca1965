/**
 * watch/ looks at processes again and again: what they write, how fast, and what a snapshot would cost. It keeps the history of
 * writes, and an account of what looking costs them.
 */
import { addressOf, formatAddress } from '../memory/address.ts'
import { permissions, type Mapping } from '../memory/mapping.ts'
import type { PageRange } from '../memory/page-range.ts'
import { isTidemarkError } from '../kernel/errors.ts'
import type { Kernel } from '../kernel/kernel.ts'
import type { Process } from '../kernel/process.ts'
import { BUFFER_BYTES } from '../snapshot/capture.ts'
import { DirtyCurve, type CurvePoint } from '../snapshot/dirty-curve.ts'
import { forecastAll, type Forecast } from '../snapshot/forecast.ts'
import { Tracking, type Followed, type Round, type TrackingOptions } from '../tracking/tracking.ts'
import { averaged, sampleCurve } from './curve-sampler.ts'
import { heatOf } from './heat.ts'
import { dumpedWhole, writtenPages } from './prediction.ts'
import { ResidentPages } from './resident.ts'
import type { MappingSample, WatchCost, WatchOutcome, WatchSample, WorkingSet } from './sample.ts'
import { WriteHistory } from './write-history.ts'

export interface WatchOptions extends TrackingOptions {
  /** How much slower the target may become, as a share of its time. */
  readonly budgetShare: number
}

/** Short intervals for the forecast, measured now and then between looks. */
const BURST_NS = [8e6, 40e6]
const BURST_EVERY_NS = 10e9
const BURSTS_KEPT = 3
/**
 * What a first write to a marked page costs the target: 0.9 to 1.6 µs where the kernel resolves it; tens where it has to
 * wait for us. `npm run bench tracking` measures it. Comparing costs it no fault.
 */
const FAULT_NS = { 'wp-async': 1_200, 'soft-dirty': 1_200, 'wp-sync': 40_000, compare: 0, none: 0 } as const
const ROUNDS_MAX = 12

/** One process being watched. */
export class Watch implements Disposable {
  readonly pid: number
  readonly #kernel: Kernel
  readonly #options: WatchOptions
  #process: Process
  #tracking: Tracking
  #name: string
  #history = new WriteHistory()
  #resident: ResidentPages
  #mappings: readonly Mapping[] = []
  #bursts: (CurvePoint & { readonly nominalNs: number })[] = []
  #nextBurstNs = 0
  #lookedNs: number
  #processorNs: number
  #children: ReadonlySet<number>
  #startedNs: number

  /** Stops the target once, for about a millisecond. Errors: those of Tracking. */
  constructor(kernel: Kernel, pid: number, options: WatchOptions) {
    this.#kernel = kernel
    this.pid = pid
    this.#options = options
    this.#process = kernel.openProcess(pid)
    try {
      this.#tracking = new Tracking(kernel, this.#process, options)
    } catch (error) {
      this.#process[Symbol.dispose]()
      throw error
    }
    this.#name = this.#process.identity().name
    this.#resident = new ResidentPages(this.#process)
    this.#children = new Set(this.#process.children())
    this.#lookedNs = this.#startedNs = kernel.clock.nowNs()
    this.#processorNs = kernel.clock.processorNs()
  }

  /** What happened since the last look. */
  look(): WatchOutcome {
    try {
      return { kind: 'sample', sample: this.#sample() }
    } catch (error) {
      if (!isTidemarkError(error) || error.code !== 'gone') throw error
      return this.#afterEnd()
    }
  }

  /** Its memory is gone: it has executed another program, which is then watched from now on, or ended. */
  #afterEnd(): WatchOutcome {
    this[Symbol.dispose]()
    try {
      const next = new Watch(this.#kernel, this.pid, this.#options)
      this.#process = next.#process
      this.#tracking = next.#tracking
      this.#name = next.#name
      this.#resident = next.#resident
      this.#history = next.#history
      this.#mappings = []
      this.#bursts = []
      this.#children = next.#children
      this.#lookedNs = this.#startedNs = next.#startedNs
      return { kind: 'executed', pid: this.pid, name: this.#name }
    } catch (error) {
      if (isTidemarkError(error) && error.code === 'gone') return { kind: 'gone', pid: this.pid }
      throw error
    }
  }

  #sample(): WatchSample {
    const { clock, pageShift } = this.#kernel
    const since = this.#history.round + 1
    const rounds: Round[] = []
    const costs: number[] = []
    const take = (round: Round): void => {
      this.#note(round)
      rounds.push(round)
      costs.push(faultNs(round) + round.stopNs)
    }
    const round = this.#tracking.collect()
    take(round)
    const faults = extraFaults(round)
    const followed = round.followed.map(({ mapping, tracker, hidden }) => ({ mapping, tracker, hidden }))
    this.#resident.look(this.#mappings)
    const heat = heatOf(round.followed, (mapping) => this.#resident.of(mapping).presentPages)
    if (round.atNs >= this.#nextBurstNs) this.#burst(take)
    const elapsedNs = clock.nowNs() - this.#lookedNs
    this.#lookedNs += elapsedNs
    const costNs = costs.reduce((sum, ns) => sum + ns, 0)
    const everything = this.#mappings.length === 0 ? { start: 0, end: 0 } : { start: this.#mappings[0]!.start, end: this.#mappings.at(-1)!.end }
    const pages = this.#distinct(everything as PageRange, since)
    const mappings = followed.map((part) => this.#mappingSample(part, since, elapsedNs))
    const sum = (of: (sample: MappingSample) => number): number => mappings.reduce((total, sample) => total + of(sample), 0)
    return {
      pid: this.pid, name: this.#name, pageBytes: 2 ** pageShift, atNs: Math.round(this.#lookedNs), elapsedNs: Math.round(elapsedNs),
      nextAfterNs: Math.round(costNs / this.#options.budgetShare), residentPages: sum((sample) => sample.residentPages), swappedPages: sum((sample) => sample.swappedPages),
      writtenPages: pages, writtenPagesPerSecond: perSecond(pages, elapsedNs), workingSet: this.#workingSet(everything as PageRange), mappings,
      blindSpots: round.hidden, forkedPids: this.#newChildren(), ...heat, cost: this.#cost(faults, costNs, rounds, elapsedNs), predicted: this.#predict(),
    }
  }

  #note(round: Round): void {
    const before = this.#mappings
    this.#mappings = round.followed.map(({ mapping }) => mapping)
    for (const range of vanished(before, this.#mappings)) this.#history.forget(range)
    this.#history.begin(round.atNs)
    for (const { written } of round.followed) this.#history.note(written)
  }

  #burst(take: (round: Round) => void): void {
    const wanted = dumpedWhole(this.#process)
    const points = sampleCurve(this.#kernel.clock, this.#tracking, BURST_NS, (round) => writtenPages(round, wanted), take)
    this.#bursts.push(...points.map((point, i) => ({ ...point, nominalNs: BURST_NS[i]! })))
    this.#bursts.splice(0, this.#bursts.length - BURSTS_KEPT * BURST_NS.length)
    this.#nextBurstNs = this.#kernel.clock.nowNs() + BURST_EVERY_NS
  }

  /** Forked since the last look, and still there. */
  #newChildren(): number[] {
    const before = this.#children
    this.#children = new Set(this.#process.children())
    return [...this.#children].filter((pid) => !before.has(pid))
  }

  #distinct(range: PageRange, since: number): number {
    return this.#history.distinct(range, since)
  }

  #workingSet(range: PageRange): WorkingSet {
    const within = (ns: number): number => this.#distinct(range, this.#history.roundSince(this.#lookedNs - ns))
    return { in1sPages: within(1e9), in10sPages: within(10e9), in60sPages: within(60e9) }
  }

  #mappingSample({ mapping, tracker, hidden }: Omit<Followed, 'written'>, since: number, elapsedNs: number): MappingSample {
    const { presentPages, swappedPages } = this.#resident.of(mapping)
    const pages = this.#distinct(mapping, since)
    return {
      start: formatAddress(addressOf(mapping.start, this.#kernel.pageShift)), end: formatAddress(addressOf(mapping.end, this.#kernel.pageShift)),
      permissions: permissions(mapping), path: mapping.path, residentPages: presentPages, swappedPages,
      writtenPages: pages, writtenPagesPerSecond: perSecond(pages, elapsedNs), workingSet: this.#workingSet(mapping), tracker, blindSpots: hidden,
    }
  }

  #cost(faults: number, costNs: number, rounds: readonly Round[], elapsedNs: number): WatchCost {
    const processorNs = this.#kernel.clock.processorNs()
    const usedNs = processorNs - this.#processorNs
    this.#processorNs = processorNs
    return {
      toolCpuShare: usedNs / elapsedNs, extraFaultsPerSecond: perSecond(faults, elapsedNs),
      slowdownShare: costNs / elapsedNs, stopNs: Math.round(rounds.reduce((sum, { stopNs }) => sum + stopNs, 0)),
    }
  }

  /** From the bursts, and from the history for intervals as long as it goes back. */
  #predict(): Forecast {
    const wanted = dumpedWhole(this.#process)
    const mappings = this.#mappings.filter(wanted)
    const watchedNs = this.#lookedNs - this.#startedNs
    const longer = [1e9, 10e9, 60e9].filter((ns) => ns <= watchedNs).map((ns) => ({
      ns, pages: mappings.reduce((pages, mapping) => pages + this.#distinct(mapping, this.#history.roundSince(this.#lookedNs - ns)), 0),
    }))
    const resident = mappings.map((mapping) => ({ ...this.#resident.of(mapping), shared: mapping.shared }))
    const sum = (of: (part: (typeof resident)[number]) => number): number => resident.reduce((total, part) => total + of(part), 0)
    const population = {
      mappings: this.#mappings.length, pages: sum((part) => part.presentPages + part.swappedPages), hugePages: sum((part) => part.hugePages),
      sharedPages: sum((part) => part.shared ? part.presentPages : 0), swappedPages: sum((part) => part.swappedPages),
    }
    const curve = new DirtyCurve([...averaged(this.#bursts), ...longer], population.pages)
    return forecastAll(population, curve, 2 ** this.#kernel.pageShift, BUFFER_BYTES, ROUNDS_MAX)
  }

  /** As {@link Tracking.needsServing}. */
  get needsServing(): boolean {
    return this.#tracking.needsServing
  }

  serve(waitNs: number): void {
    this.#tracking.serve(waitNs)
  }

  /** Ends the watching without holding up the target. */
  end(): void {
    this.#tracking.end()
    this.#process[Symbol.dispose]()
  }

  [Symbol.dispose](): void {
    this.#tracking[Symbol.dispose]()
    this.#process[Symbol.dispose]()
  }
}

function perSecond(count: number, ns: number): number {
  return Math.round((count / ns) * 1e9)
}

/** Of pages that were marked, every first write is a fault that would not have been. An upper bound: new pages fault anyway. */
function extraFaults(round: Round): number {
  return round.followed.reduce((faults, { tracker, written }) => FAULT_NS[tracker] > 0 ? faults + written.pageCount() : faults, 0)
}

function faultNs(round: Round): number {
  return round.followed.reduce((ns, { tracker, written }) => ns + written.pageCount() * FAULT_NS[tracker], 0)
}

/** What was mapped and is not any more. Both lists are in address order. */
function vanished(before: readonly Mapping[], now: readonly Mapping[]): PageRange[] {
  const gone: PageRange[] = []
  let i = 0
  for (const { start, end } of before) {
    let from = start
    while (i < now.length && now[i]!.end <= from) i++
    for (let j = i; j < now.length && now[j]!.start < end; j++) {
      if (now[j]!.start > from) gone.push({ start: from, end: now[j]!.start })
      from = now[j]!.end > from ? now[j]!.end : from
    }
    if (from < end) gone.push({ start: from, end })
  }
  return gone
}
