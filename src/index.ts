/**
 * tidemark as a library: see what a running Linux process writes, keep any moment of it.
 * Everything is asynchronous here and happens in a process of our own; nothing blocks the caller. The one exception is
 * `trackBuffer`, which follows the caller's own memory.
 *
 * ```ts
 * import { attach, capabilities, dump } from 'tidemark'
 * const result = await dump(4242, { output: 'app.core', pauseNsMax: 5e6 })
 * ```
 */
import { address } from './memory/address.ts'
import { TidemarkError } from './kernel/errors.ts'
import type { Capabilities } from './linux/capabilities.ts'
import { LiveTracking, type TrackOptions } from './live-tracking.ts'
import { LiveWatch } from './live-watch.ts'
import { PAGE_STATES, PageTrait, type PageRanges, type PagesReport, type PageStateName } from './pages/report.ts'
import type { MappingChoice, SurveyPlan } from './pages/survey.ts'
import { Session } from './session.ts'
import type { DumpEvent } from './snapshot/capture.ts'
import type { DumpPlan, DumpResult, Unproven } from './snapshot/dump.ts'
import type { StrategyName } from './snapshot/strategy.ts'
import type { TargetDescription } from './target-view.ts'
import { TRACKER_NAMES } from './tracking/report.ts'
import type { TrackingOptions } from './tracking/tracking.ts'
import type { Prediction } from './watch/prediction.ts'

export { formatAddress, address, type Address, type PageNumber, type PageShift } from './memory/address.ts'
export type { Mapping } from './memory/mapping.ts'
export { trackBuffer } from './own-buffers.ts'
export type { TrackableBuffer, GrowingMemory } from './buffers/subject.ts'
export { TrackedBuffer, type TrackBufferOptions } from './buffers/tracked-buffer.ts'
export type { WrittenRanges, ByteRange } from './buffers/written-ranges.ts'
export { isTidemarkError, TidemarkError, type ErrorCode } from './kernel/errors.ts'
export { FilterBit } from './snapshot/selection.ts'
export { CoreFormatError, isCoreFormatError } from './image/elf-core/core-format-error.ts'
export { decodeCore } from './image/elf-core/decode.ts'
export { CoreMemoryError, isCoreMemoryError, readCoreMemory } from './image/elf-core/read-core-memory.ts'
export type { Core, CoreThread, CoreSegment } from './image/elf-core/core.ts'
export type { CoreSource } from './image/elf-core/core-source.ts'
export type { Capabilities, Capability } from './linux/capabilities.ts'
export type { MappingKind, MappingPages, PageCounts, PageRanges, PagesReport, PageStateName } from './pages/report.ts'
export type { MappingChoice } from './pages/survey.ts'
export { TRACKER_NAMES, type HiddenWrites, type MappingReport, type TrackerName, type WrittenReport } from './tracking/report.ts'
export type { LiveTracking, LiveWatch, Prediction, TrackOptions }
export type { MappingSample, WatchOutcome, WatchSample, WorkingSet } from './watch/sample.ts'
export type { StrategyForecast } from './snapshot/forecast.ts'
export type { DumpEvent, DumpResult, Unproven, StrategyName, TargetDescription }

export interface DumpOptions {
  /** Where the core file goes; `-` is standard output. Needed. */
  readonly output: string
  /** Replace a file of that name. Default: refuse. */
  readonly replace?: boolean
  /** Default 'auto': measures the target for 50 ms and takes the cheapest that meets `pauseNsMax`. */
  readonly strategy?: StrategyName | 'auto'
  /** Nanoseconds the target may stand still. Default: as short as it gets. */
  readonly pauseNsMax?: number
  /** When that cannot be kept: 'abort' (default) before the target is stopped, or 'proceed'. */
  readonly onPauseExceeded?: 'abort' | 'proceed'
  /** Rounds of pre-copy at most. Default 12. */
  readonly roundsMax?: number
  /** Bits of {@link FilterBit} instead of the process's own coredump_filter. */
  readonly filter?: number
  /** Bits to take out of the filter. */
  readonly filterWithout?: number
  /** Save what the program marked with MADV_DONTDUMP too. Default: no. */
  readonly dontDumpToo?: boolean
  /**
   * Page out again what was in swap before we read it. Default: where the target has such pages and we may (CAP_SYS_NICE);
   * `true` makes it an error that we may not.
   */
  readonly preserveWorkingSet?: boolean
  /** Nanoseconds to wait for a thread to stop. Default 1e9. */
  readonly freezeTimeoutNs?: number
  /** Gives up as soon as it can, the target running on and no file left behind. */
  readonly signal?: AbortSignal
  /** Hears of progress: phases, rounds, pages saved. */
  readonly onEvent?: (event: DumpEvent) => void
}

/**
 * Saves one instant of a running process as an ELF core file.
 *
 * Errors are {@link TidemarkError}s: 'usage', 'not-permitted', 'unsupported' (this kernel cannot), 'gone' (the process),
 * 'pause-exceeded' (before the target was stopped), 'timed-out' (a thread would not stop), 'aborted', 'failed'.
 */
export async function dump(pid: number, options: DumpOptions): Promise<DumpResult> {
  await using session = new Session(mayNeedOurOutput(options.output) ? 'inherit' : 'ignore')
  return await dumpIn(session, pid, options)
}

/** `-`, and what may lead to the same. */
function mayNeedOurOutput(output: string): boolean {
  return output === '-' || /^\/(dev|proc)\//.test(output)
}

function dumpIn(session: Session, pid: number, options: DumpOptions): Promise<DumpResult> {
  return session.request({ kind: 'dump', plan: planOf(pid, options) }, { signal: options.signal, onEvent: options.onEvent })
}

function planOf(pid: number, options: DumpOptions): DumpPlan {
  requireCount('pid', pid, 1)
  if (options.output === '') throw new TidemarkError('usage', 'the output has no name', { hint: 'name a file, or - for standard output' })
  if (options.pauseNsMax !== undefined && !(options.pauseNsMax > 0)) {
    throw new TidemarkError('usage', `a pause of ${options.pauseNsMax} ns cannot be kept`, { hint: 'every snapshot stops the target for a moment; a fraction of a millisecond is the least' })
  }
  if (options.roundsMax !== undefined) requireCount('roundsMax', options.roundsMax, 1)
  return {
    pid,
    strategy: options.strategy ?? 'auto',
    limits: {
      pauseNsMax: options.pauseNsMax, onPauseExceeded: options.onPauseExceeded ?? 'abort',
      roundsMax: options.roundsMax ?? 12, freezeTimeoutNs: options.freezeTimeoutNs ?? 1e9,
    },
    output: { path: options.output, replace: options.replace ?? false },
    filter: options.filter,
    filterWithout: options.filterWithout ?? 0,
    dontDumpToo: options.dontDumpToo ?? false,
    workingSet: options.preserveWorkingSet === undefined ? 'keep' : options.preserveWorkingSet ? 'wanted' : 'spend',
  }
}

export interface PagesOptions {
  /** Only the mapping that holds an address, or all of a path. Default: all. */
  readonly only?: MappingChoice
  /** Tell the range of each state too, for {@link pageRanges}. Default: counts only. */
  readonly ranges?: boolean
  /** Gives up as soon as it can. */
  readonly signal?: AbortSignal
}

/**
 * What every page of a process is: mapped, in swap, cached, a hole … (see `PAGE_STATES` in pages/report.ts), and by which tracker its
 * writes could be followed. Stops nothing and touches no page. Errors: 'usage' (no such mapping, a thread), 'not-permitted', 'gone', 'failed', 'aborted'.
 */
export async function pages(pid: number, options: PagesOptions = {}): Promise<PagesReport> {
  await using session = new Session()
  return await pagesIn(session, pid, options)
}

async function pagesIn(session: Session, pid: number, { only, ranges, signal }: PagesOptions): Promise<PagesReport> {
  requireCount('pid', pid, 1)
  if (only?.kind === 'address') address(only.address)
  const plan: SurveyPlan = { only, ranges: ranges === true ? 'ranges' : 'counts' }
  return await session.request({ kind: 'pages', pid, plan }, { signal })
}

/** A stretch of pages that are alike, from `start` up to `end`, which is not part of it. */
export interface PageStretch {
  readonly start: bigint
  readonly end: bigint
  readonly state: PageStateName
  /** Of mapped pages: a file's or shared memory's, not the process's own. */
  readonly file: boolean
  readonly huge: boolean
  /** Written since it was last protected, where something tracks writes. */
  readonly written: boolean
}

/** The ranges of a mapping one by one: there may be a million. */
export function* pageRanges({ bounds, states }: PageRanges): Generator<PageStretch> {
  for (let i = 0; i < states.length; i++) {
    const state = states[i]!
    yield {
      start: bounds[2 * i]!, end: bounds[2 * i + 1]!, state: PAGE_STATES[state & 0xff]!,
      file: (state & PageTrait.file) !== 0, huge: (state & PageTrait.huge) !== 0, written: (state & PageTrait.written) !== 0,
    }
  }
}

function requireCount(name: string, value: number, least: number): void {
  if (!Number.isSafeInteger(value) || value < least) throw new TidemarkError('usage', `${name} must be a whole number from ${least} on, not ${value}`)
}

function requireOneOf(name: string, value: string, known: readonly string[]): void {
  if (!known.includes(value)) throw new TidemarkError('usage', `${value} is no ${name}`, { hint: `one of ${known.join(', ')}` })
}

/** A process to ask several things of, over one engine. Being attached stops nothing. */
export class Target implements AsyncDisposable {
  readonly pid: number
  readonly #session: Session

  /** @internal Use {@link attach}. */
  constructor(pid: number, session: Session) {
    this.pid = pid
    this.#session = session
  }

  describe(): Promise<TargetDescription> {
    return this.#session.request({ kind: 'describe', pid: this.pid })
  }

  /** Bytes of its memory as it runs; fewer than asked where it ends. At most 64 MiB at once. */
  read(from: bigint, length: number): Promise<Uint8Array> {
    return this.#session.request({ kind: 'read', pid: this.pid, address: from, length })
  }

  /** As {@link pages}. */
  pages(options: PagesOptions = {}): Promise<PagesReport> {
    return pagesIn(this.#session, this.pid, options)
  }

  /**
   * Follows its writes, by the best mechanism for each mapping: stops it once, for about a millisecond, to set the mark on
   * everything. Errors as {@link dump}.
   */
  async track(options: TrackOptions = {}): Promise<LiveTracking> {
    await this.#session.request({ kind: 'track', pid: this.pid, options: trackingOptions(options) })
    return new LiveTracking(this.pid, this.#session)
  }

  dump(options: DumpOptions): Promise<DumpResult> {
    if (mayNeedOurOutput(options.output)) return dump(this.pid, options)
    return dumpIn(this.#session, this.pid, options)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session[Symbol.asyncDispose]()
  }
}

/** Opens a process, after making sure that it can be a target. Errors as {@link dump}. */
export async function attach(pid: number): Promise<Target> {
  requireCount('pid', pid, 1)
  const session = new Session()
  try {
    await session.request({ kind: 'describe', pid })
    return new Target(pid, session)
  } catch (error) {
    await session[Symbol.asyncDispose]()
    throw error
  }
}

export interface WatchOptions extends TrackOptions {
  /** How much slower a target may become by being watched, as a share of its time. Default 0.02. */
  readonly budgetShare?: number
}

/** Begins to watch processes: stops each once, for about a millisecond. Errors as {@link dump}. */
export async function watchProcesses(pids: readonly number[], options: WatchOptions = {}): Promise<LiveWatch> {
  for (const pid of pids) requireCount('pid', pid, 1)
  const budgetShare = options.budgetShare ?? 0.02
  if (!(budgetShare > 0 && budgetShare <= 1)) throw new TidemarkError('usage', `a budget of ${budgetShare} makes no sense`, { hint: 'a share of the target\'s time: 0.02 is two per cent' })
  return await LiveWatch.begin(pids, { ...trackingOptions(options), budgetShare })
}

export interface PredictOptions extends TrackOptions {
  /** How long to watch, in nanoseconds. Default 3e9. */
  readonly forNs?: number
  /** Rounds of pre-copy at most. Default 12. */
  readonly roundsMax?: number
  readonly signal?: AbortSignal
}

/** What a snapshot of a process would cost by each strategy, and where copying in rounds converges. Errors as {@link dump}. */
export async function predict(pid: number, options: PredictOptions = {}): Promise<Prediction> {
  requireCount('pid', pid, 1)
  const forNs = options.forNs ?? 3e9
  if (!(forNs > 0)) throw new TidemarkError('usage', `nothing is seen in ${forNs} ns`, { hint: 'watch for a second or more' })
  await using session = new Session()
  const plan = { pid, forNs, roundsMax: options.roundsMax ?? 12, ...trackingOptions(options) }
  return await session.request({ kind: 'predict', plan }, { signal: options.signal })
}

function trackingOptions({ trackers = TRACKER_NAMES, freezeTimeoutNs = 1e9 }: TrackOptions): TrackingOptions {
  for (const name of trackers) requireOneOf('tracker', name, TRACKER_NAMES)
  if (trackers.length === 0) throw new TidemarkError('usage', 'no tracker is allowed', { hint: `name some of ${TRACKER_NAMES.join(', ')}` })
  return { trackers, freezeTimeoutNs }
}

/** What this kernel, this machine and this user can do, found by trying each thing on memory and children of our own. */
export async function capabilities(): Promise<Capabilities> {
  await using session = new Session()
  return await session.request({ kind: 'capabilities' })
}
