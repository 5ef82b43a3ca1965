import { isFileBacked, objectKey, type Mapping } from '../memory/mapping.ts'
import { intersection } from '../memory/page-range.ts'
import { PageSpans } from '../memory/page-spans.ts'
import { RegionList } from '../memory/region-list.ts'
import { isTidemarkError, TidemarkError } from '../kernel/errors.ts'
import type { Kernel } from '../kernel/kernel.ts'
import type { Process } from '../kernel/process.ts'
import { whileStopped, type Stopped } from '../tracee/freeze.ts'
import { projectAliases } from './aliases.ts'
import { CompareTracker } from './compare.ts'
import { grouped } from './grouped.ts'
import { HiddenWritesWatch } from './hidden-writes.ts'
import type { HiddenWrites, TrackerName } from './report.ts'
import { SoftDirtyTracker } from './soft-dirty.ts'
import { drain, POPULATED, type Tracker } from './tracker.ts'
import { WpAsyncTracker } from './wp-async.ts'
import { WpSyncTracker } from './wp-sync.ts'

export interface TrackingOptions {
  /** The mechanisms that may be used; the first that takes a mapping has it. */
  readonly trackers: readonly TrackerName[]
  readonly freezeTimeoutNs: number
}

/** One mapping in a round. */
export interface Followed {
  readonly mapping: Mapping
  /** 'none': nothing follows it, and its pages are reported whole; where they cannot be read, `hidden` says so. */
  readonly tracker: TrackerName | 'none'
  readonly hidden: readonly HiddenWrites[]
  /** Valid until the next round. */
  readonly written: PageSpans
}

export interface Round {
  readonly atNs: number
  readonly elapsedNs: number
  /** How long the target stood still. */
  readonly stopNs: number
  readonly followed: readonly Followed[]
  readonly hidden: readonly HiddenWrites[]
}

interface Assignment {
  readonly mapping: Mapping
  /** 'whole': nobody follows it, and all of its pages are reported each time. 'nothing': not the program's to write, or not to be read. */
  readonly by: Tracker | 'whole' | 'nothing'
}

/** The kernel's own pages, which the program does not write. */
const KERNELS_OWN = new Set(['[vdso]', '[vvar]', '[vvar_vclock]', '[vsyscall]'])
/** A mapping that has lived through a round, or holds so much, is worth a stop to have it tracked. */
const WORTH_A_STOP_PAGES = 256

/**
 * Follows a whole process: chooses a tracker for each mapping by trying, and keeps up with mappings that appear, grow, move,
 * split, merge and vanish. A round reports a superset of the pages written since the round before.
 */
export class Tracking implements Disposable {
  readonly #kernel: Kernel
  readonly #process: Process
  readonly #options: TrackingOptions
  readonly #trackers: Tracker[] = []
  readonly #unavailable = new Map<TrackerName, string>()
  /** By first page. */
  #assignments = new Map<number, Assignment>()
  /** As they were when the round began: a part that mprotect has split off is found in the whole. */
  #before: readonly Assignment[] = []
  /** Mappings that nobody has been asked to follow yet, seen in the last round. */
  #newcomers = new Set<number>()
  #spans = new Map<number, PageSpans>()
  /** What mappings that nobody follows had in the last round, by first page. */
  readonly #wholeBefore = new Map<number, PageSpans>()
  readonly #hidden: HiddenWritesWatch
  readonly #found = new RegionList(4096)
  #atNs: number
  #stopNs = 0
  #toldStopNs = 0

  /**
   * Sets the mark on everything: stops the target once, for about a millisecond.
   * Errors: 'unsupported' when none of the trackers can be had for this target; those of whileStopped.
   */
  constructor(kernel: Kernel, process: Process, options: TrackingOptions) {
    this.#kernel = kernel
    this.#process = process
    this.#options = options
    this.#hidden = new HiddenWritesWatch(process, kernel.clock)
    this.#atNs = kernel.clock.nowNs()
    try {
      this.#open()
      this.#hidden.look(process.mappings())
      this.#adopt()
      for (const { mapping, by } of this.#assignments.values()) if (by === 'whole') this.#addWhole(mapping)
    } catch (error) {
      this[Symbol.dispose]()
      throw error
    }
  }

  #open(): void {
    const { trackers, freezeTimeoutNs } = this.#options
    for (const name of trackers) {
      if (name === 'compare') this.#trackers.push(new CompareTracker(this.#kernel, this.#process, () => void this.serve(0)))
      else if (name === 'wp-async') this.#trackers.push(new WpAsyncTracker(this.#kernel, this.#process, freezeTimeoutNs))
      else if (name === 'wp-sync') this.#trackers.push(new WpSyncTracker(this.#kernel, this.#process, freezeTimeoutNs))
      else if (this.#kernel.hasSoftDirty()) this.#trackers.push(new SoftDirtyTracker(this.#kernel, this.#process, freezeTimeoutNs))
      else this.#unavailable.set(name, 'this kernel keeps no soft-dirty bits')
    }
  }

  /** Stops the target, finds a tracker for each mapping that has none, and sets its mark. */
  #adopt(): void {
    const adopted: Assignment[] = []
    const stopped = whileStopped(this.#kernel, this.#process.pid, { timeoutNs: this.#options.freezeTimeoutNs, threads: 'all', meanwhile: () => void this.serve(0) }, (stopped) => {
      for (const mapping of this.#process.mappings()) {
        if (this.#assignmentOf(mapping) !== undefined) continue
        const assignment = this.#assign(stopped, mapping)
        this.#assignments.set(mapping.start, assignment)
        adopted.push(assignment)
      }
      return stopped
    })
    this.#stopNs += stopped.releasedNs - stopped.startedNs
    this.#newcomers.clear()
    if (this.#trackers.length === 0) throw this.#nothingAvailable()
    for (const [tracker, members] of grouped(adopted, trackerOf)) tracker.mark(members.map(({ mapping }) => mapping), (mapping) => this.#spansOf(mapping))
  }

  #assign(stopped: Stopped, mapping: Mapping): Assignment {
    if (KERNELS_OWN.has(mapping.path)) return { mapping, by: 'nothing' }
    for (const tracker of [...this.#trackers]) {
      // Where writes are tracked by the kernel, having them wait for us serves no further mapping.
      if (tracker.name === 'wp-sync' && this.#trackers.some(({ name }) => name === 'wp-async')) continue
      const outcome = this.#tryAdopt(tracker, stopped, mapping)
      if (outcome === 'adopted') return { mapping, by: tracker }
      // Of shared memory that the program may not write, only others' writes could be found, by reading all of it.
      if (outcome === 'refused' && (isDevice(mapping) || (mapping.shared && !mapping.writable))) return { mapping, by: 'nothing' }
    }
    return { mapping, by: 'whole' }
  }

  /** A mechanism that cannot be had for this target is not asked again. */
  #tryAdopt(tracker: Tracker, stopped: Stopped, mapping: Mapping): 'adopted' | 'owned' | 'refused' {
    try {
      return tracker.adopt(stopped, mapping)
    } catch (error) {
      if (!isTidemarkError(error) || error.code !== 'unsupported') throw error
      this.#unavailable.set(tracker.name, error.message)
      this.#trackers.splice(this.#trackers.indexOf(tracker), 1)
      return 'refused'
    }
  }

  #nothingAvailable(): TidemarkError {
    return new TidemarkError('unsupported', `process ${this.#process.pid} cannot be tracked: ${[...this.#unavailable].map(([name, why]) => `${name}: ${why}`).join('; ')}`, {
      pid: this.#process.pid, hint: 'allow the tracker compare, which works everywhere; `tidemark check` tells more',
    })
  }

  #assignmentOf(mapping: Mapping): Assignment | undefined {
    const before = this.#assignments.get(mapping.start)
    const registered = this.#trackers.find((tracker) => tracker.registers && tracker.follows(mapping))
    if (registered !== undefined) return { mapping, by: registered }
    const whole = before ?? this.#before.find((assignment) => assignment.mapping.start <= mapping.start && mapping.start < assignment.mapping.end)
    if (whole === undefined || (typeof whole.by === 'object' && whole.by.registers) || !isSameMemory(whole.mapping, mapping)) return undefined
    return { mapping, by: whole.by }
  }

  #spansOf(mapping: Mapping): PageSpans {
    let spans = this.#spans.get(mapping.start)
    if (spans === undefined) this.#spans.set(mapping.start, spans = new PageSpans())
    return spans
  }

  /** Reports the pages written since the round before (the first: since the mark was set) and sets the marks again. Throws 'gone'. */
  collect(): Round {
    const beforeNs = this.#atNs
    this.#atNs = this.#kernel.clock.nowNs()
    for (const spans of this.#spans.values()) spans.clear()
    let mappings = this.#process.mappings()
    this.#hidden.look(mappings)
    for (const tracker of this.#trackers) tracker.forgetAllBut(mappings)
    this.#before = [...this.#assignments.values()]
    this.#collectAssigned(mappings)
    if (this.#newcomersAreDue(mappings)) {
      this.#adopt()
      mappings = this.#process.mappings()
    }
    this.#addUnseen(mappings)
    const followed = mappings.map((mapping) => this.#followed(mapping))
    this.#forgetVanished(mappings)
    const stopNs = this.#stopNs + this.#trackers.reduce((sum, tracker) => sum + tracker.stopNs, 0)
    const round = { atNs: this.#atNs, elapsedNs: this.#atNs - beforeNs, stopNs: stopNs - this.#toldStopNs, followed, hidden: this.#hidden.ofProcess(this.#trackers.some(({ name }) => name === 'soft-dirty')) }
    this.#toldStopNs = stopNs
    return round
  }

  #collectAssigned(mappings: readonly Mapping[]): void {
    const assigned: Assignment[] = []
    for (const mapping of mappings) {
      const assignment = this.#assignmentOf(mapping)
      if (assignment === undefined) {
        this.#welcome(mapping)
        continue
      }
      this.#assignments.set(mapping.start, assignment)
      if (assignment.by === 'whole') this.#addWhole(mapping)
      assigned.push(assignment)
    }
    for (const [tracker, members] of grouped(assigned, trackerOf)) {
      tracker.collect(members.map(({ mapping }) => mapping), (mapping) => this.#spansOf(mapping))
      for (const { mapping } of members) if (tracker.lost.has(mapping.start)) this.#welcome(mapping)
    }
  }

  /** Nobody follows it yet: all it has is reported. */
  #welcome(mapping: Mapping): void {
    this.#assignments.delete(mapping.start)
    this.#addWhole(mapping)
  }

  /** A page that was there and is not any more holds its file's contents again: it has changed as well. */
  #addWhole(mapping: Mapping): void {
    this.#addContents(mapping)
    if (!isFileBacked(mapping) || mapping.shared) return
    const now = new PageSpans()
    now.addSpans(this.#spansOf(mapping))
    const before = this.#wholeBefore.get(mapping.start)
    if (before !== undefined) this.#spansOf(mapping).addSpans(before, 0, mapping)
    this.#wholeBefore.set(mapping.start, now)
  }

  #addPopulated(mapping: Mapping): void {
    const query = { all: 0, none: 0, any: POPULATED, report: 0, protect: false, trackedOnly: false }
    const spans = this.#spansOf(mapping)
    drain((start, found) => this.#process.pageTables.scan({ start, end: mapping.end }, query, found), mapping.start, this.#found, (regions) => spans.addRegions(regions))
  }

  /** Mappings nobody follows yet: so far all of their pages are reported, which costs no stop. */
  #newcomersAreDue(mappings: readonly Mapping[]): boolean {
    const fresh = mappings.filter((mapping) => !this.#assignments.has(mapping.start))
    // What a page of a file was before only marks tell.
    const due = fresh.some((mapping) => isFileBacked(mapping) || this.#newcomers.has(mapping.start) || this.#spansOf(mapping).pageCount() >= WORTH_A_STOP_PAGES)
    this.#newcomers = new Set(fresh.map(({ start }) => start))
    return due
  }

  /** What shows in no page table of the mapping but is known all the same. */
  #addUnseen(mappings: readonly Mapping[]): void {
    for (const range of this.#hidden.fixedBuffers) {
      for (const mapping of mappings) {
        const part = intersection(range, mapping)
        if (part !== undefined) this.#spansOf(mapping).add(part.start, part.end)
      }
    }
    projectAliases(mappings, (mapping) => this.#spansOf(mapping), 2 ** this.#kernel.pageShift)
    for (const mapping of mappings) if (this.#mayHoldOthers(mapping)) this.#addContents(mapping)
  }

  /** Whether pages may hold something else without having been written: cut off and grown again, or of a file that was written. */
  #mayHoldOthers(mapping: Mapping): boolean {
    const change = this.#hidden.changeOf(mapping)
    return change === 'cut' || (change === 'perhaps' && !mapping.shared)
  }

  #addContents(mapping: Mapping): void {
    const data = mapping.shared ? this.#process.dataRanges(mapping) : 'unknown'
    if (data === 'unknown') this.#addPopulated(mapping)
    else for (const { start, end } of data) this.#spansOf(mapping).add(start, end)
  }

  #followed(mapping: Mapping): Followed {
    const by = this.#assignments.get(mapping.start)?.by
    const hidden = this.#hidden.of(mapping)
    if (isDevice(mapping) && by === 'nothing') hidden.push({ kind: 'untracked', why: 'the kernel lets nobody follow such memory' })
    return { mapping, tracker: typeof by === 'object' ? by.name : 'none', hidden, written: this.#spansOf(mapping).sort() }
  }

  #forgetVanished(mappings: readonly Mapping[]): void {
    const present = new Set(mappings.map(({ start }) => start))
    for (const start of this.#spans.keys()) if (!present.has(start as Mapping['start'])) this.#spans.delete(start)
    for (const start of this.#wholeBefore.keys()) if (!present.has(start as Mapping['start'])) this.#wholeBefore.delete(start)
    for (const start of this.#assignments.keys()) if (!present.has(start as Mapping['start'])) this.#assignments.delete(start)
  }

  /** Whether {@link serve} has to be called without long gaps. */
  get needsServing(): boolean {
    return this.#trackers.some(({ needsServing }) => needsServing)
  }

  /** Lets threads go on that wait for us, for up to `waitNs`. Returns how many there were. */
  serve(waitNs: number): number {
    return this.#trackers.reduce((served, tracker) => served + tracker.serve(waitNs), 0)
  }

  /** Stops tracking, without holding up the target. */
  end(): void {
    for (const tracker of this.#trackers) tracker.end((mapping) => this.#assignments.get(mapping.start)?.by === tracker)
    this.#trackers.length = 0
  }

  [Symbol.dispose](): void {
    for (const tracker of this.#trackers) tracker[Symbol.dispose]()
    this.#trackers.length = 0
  }
}

function trackerOf({ by }: Assignment): Tracker | undefined {
  return typeof by === 'object' ? by : undefined
}

/** Of the same object, though it may have been cut or have grown. */
function isSameMemory(a: Mapping, b: Mapping): boolean {
  return a.shared === b.shared && a.path === b.path && objectKey(a) === objectKey(b)
}

/** Memory of a device or of io_uring, which the kernel does not let be registered or read. */
function isDevice(mapping: Mapping): boolean {
  return mapping.path.startsWith('anon_inode:') || (mapping.path.startsWith('/dev/') && !/^\/dev\/(shm\/|zero)/.test(mapping.path))
}
