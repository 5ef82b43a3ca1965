import type { PageNumber } from '../memory/address.ts'
import { fillsOnDemand, objectKey, type Mapping } from '../memory/mapping.ts'
import type { PageRange } from '../memory/page-range.ts'
import { PageBitmap } from '../memory/page-bitmap.ts'
import { RegionList } from '../memory/region-list.ts'
import type { Block } from '../kernel/block.ts'
import type { Kernel } from '../kernel/kernel.ts'
import type { PageSink } from '../kernel/output.ts'
import { PageState, type ScanOutcome } from '../kernel/page-tables.ts'
import type { MappingDetail, Process } from '../kernel/process.ts'
import { readPages, type Reading } from '../tracee/read-pages.ts'
import { drain } from '../tracking/tracker.ts'
import { FileLayout } from './file-layout.ts'
import { PageFile } from './page-file.ts'
import { measurePopulation, type Population } from './population.ts'
import { shareOf, type SelectionRules, type Share } from './selection.ts'
import { WorkingSet } from './working-set.ts'

/** A mebibyte at a time stays in the processor's cache between the read and the write. */
const COPY_BYTES = 1 << 20
/** What the pause may copy without touching the file; more is written straight through. */
const HOLD_BYTES = 40 << 20
const REGIONS = 4096
/** Memory of ours that any dump uses. */
export const BUFFER_BYTES = COPY_BYTES + HOLD_BYTES

export type DumpEvent =
  | { readonly kind: 'phase'; readonly phase: 'rehearsing' | 'arming' | 'measuring' | 'pausing' | 'finishing' }
  | { readonly kind: 'round'; readonly round: number; readonly pages: number; readonly ns: number }
  | { readonly kind: 'progress'; readonly savedPages: number; readonly populatedPages: number }
  | { readonly kind: 'warning'; readonly text: string }

export interface Watcher {
  emit(event: DumpEvent): void
  /** Throws 'aborted' when the caller has changed their mind. */
  checkAborted(): void
}

export interface CaptureRules extends SelectionRules {
  /** Whether what our reading brings back from swap is paged out again; `keep` if left out. */
  readonly workingSet?: 'keep' | 'spend'
}

/** Memory of ours that a dump uses, whatever the size of the target. */
export class CopyBuffers implements Disposable {
  readonly bytes = BUFFER_BYTES
  readonly copy: Block
  readonly hold: Block

  constructor(kernel: Kernel) {
    this.copy = kernel.allocate(COPY_BYTES)
    this.hold = kernel.allocate(HOLD_BYTES)
  }

  [Symbol.dispose](): void {
    this.copy[Symbol.dispose]()
    this.hold[Symbol.dispose]()
  }
}

/**
 * The common work of every strategy: which mappings, reading pages, and putting them into the file at once,
 * or, in the pause, into memory that is already there, to be written when the target runs again.
 */
export class Capture {
  readonly kernel: Kernel
  readonly process: Process
  readonly watcher: Watcher
  readonly layout: FileLayout
  readonly file: PageFile
  readonly #details: ReadonlyMap<number, MappingDetail>
  readonly #detailed: readonly Mapping[]
  readonly #shares = new WeakMap<Mapping, Share>()
  /** Filled by scans, emptied by copies. */
  readonly found = new RegionList(REGIONS)
  readonly #rules: CaptureRules
  readonly #pageBytes: number
  readonly #batch = new RegionList(COPY_BYTES / 4096)
  /** Scratch between one copy and the next. */
  readonly copyBlock: Block
  readonly #holdBlock: Block
  readonly #held = new RegionList(HOLD_BYTES / 4096)
  readonly #heldMappings: Mapping[] = []
  #heldPages = new PageBitmap()
  #heldBytes = 0
  #copiedPages = 0
  #populatedPages = 0
  #lastProgressNs = 0
  readonly workingSet: WorkingSet

  constructor(kernel: Kernel, process: Process, output: PageSink, buffers: CopyBuffers, rules: CaptureRules, watcher: Watcher) {
    this.kernel = kernel
    this.process = process
    this.watcher = watcher
    this.#rules = rules
    this.#pageBytes = 2 ** kernel.pageShift
    this.layout = new FileLayout(this.#pageBytes, this.#pageBytes)
    this.file = new PageFile(this.layout, output, this.#pageBytes)
    this.#detailed = process.mappings()
    this.#details = process.details()
    this.copyBlock = buffers.copy
    this.#holdBlock = buffers.hold
    this.workingSet = new WorkingSet(rules.workingSet ?? 'keep', (mapping) => this.detail(mapping)?.swapped === true)
  }

  get copiedPages(): number {
    return this.#copiedPages
  }

  share(mapping: Mapping): Share {
    let share = this.#shares.get(mapping)
    if (share === undefined) {
      share = shareOf(mapping, this.detail(mapping), this.#rules)
      this.#shares.set(mapping, share)
    }
    return share
  }

  /** Of a part that mprotect has since split off, the detail of the whole. */
  detail(mapping: Mapping): MappingDetail | undefined {
    const exact = this.#details.get(mapping.start)
    if (exact !== undefined) return exact
    const whole = this.#detailed.find(({ start, end }) => start <= mapping.start && mapping.end <= end)
    return whole !== undefined && objectKey(whole) === objectKey(mapping) ? this.#details.get(whole.start) : undefined
  }

  /** What there is to save as a whole. */
  population(): Population {
    const population = measurePopulation(this.process, (mapping) => this.share(mapping) === 'whole', this.found)
    this.#populatedPages = population.pages
    return population
  }

  /** The populated pages of the range, added to {@link found} in pieces; `each` empties it as often as it fills. */
  forPopulated(source: Process, range: PageRange, each: (regions: RegionList) => void, list = this.found): void {
    const query = { all: 0, none: 0, any: PageState.present | PageState.swapped, report: PageState.present, protect: false, trackedOnly: false }
    this.drain((start, found) => source.pageTables.scan({ start, end: range.end }, query, found), range.start, each, list)
  }

  /** Repeats a scan until it is done, handing on what it found. Returns where it met an untracked mapping, if it did. */
  drain(scan: (from: PageNumber, found: RegionList) => ScanOutcome, from: PageNumber, each: (regions: RegionList) => void, found = this.found): PageNumber | undefined {
    return drain(scan, from, found, each)
  }

  /** Where a shared mapping's object holds data; all of it where that cannot be told. */
  dataRanges(mapping: Mapping): readonly PageRange[] {
    const data = this.process.dataRanges(mapping)
    return data === 'unknown' ? [mapping] : data
  }

  /** Every page of a mapping that the image is to hold, as the strategy `take`s it: for anonymous memory the populated ones. */
  forContents(source: Process, mapping: Mapping, share: Share, take: (regions: RegionList) => void): void {
    if (share === 'whole' && !fillsOnDemand(mapping)) {
      this.forPopulated(source, mapping, take)
      return
    }
    this.found.clear()
    if (share === 'first-page') this.found.push(mapping.start, mapping.start + 1)
    else if (mapping.shared) for (const range of this.dataRanges(mapping)) this.#pushOrTake(range, take)
    else this.found.push(mapping.start, mapping.end)
    take(this.found)
  }

  #pushOrTake(range: PageRange, take: (regions: RegionList) => void): void {
    if (this.found.push(range.start, range.end)) return
    take(this.found)
    this.found.clear()
    this.found.push(range.start, range.end)
  }

  /** Reads the regions and writes them to their place in the file; `saved` hears how far that is, a mebibyte at a time. */
  save(source: Process, mapping: Mapping, regions: RegionList, saved?: (start: number, end: number) => void): void {
    this.#inBatches(regions, COPY_BYTES, () => {
      this.#saveBatch(source, mapping)
      saved?.(this.#batch.starts[0]!, this.#batch.ends[this.#batch.length - 1]!)
    })
    this.watcher.checkAborted()
    const now = this.kernel.clock.nowNs()
    if (now - this.#lastProgressNs > 100e6) {
      this.#lastProgressNs = now
      this.watcher.emit({ kind: 'progress', savedPages: this.#copiedPages, populatedPages: this.#populatedPages })
    }
  }

  /** Reads the regions into memory, for the pause and the short rounds before it. Only a full memory is written out first. */
  hold(source: Process, mapping: Mapping, regions: RegionList): void {
    this.#inBatches(regions, COPY_BYTES, () => {
      const bytes = this.#batch.pageCount() * this.#pageBytes
      if (this.#heldBytes + bytes > HOLD_BYTES || this.#held.length + this.#batch.length > this.#held.capacity) this.flushHeld()
      this.#readBatch(source, mapping, this.#holdBlock, this.#heldBytes)
      if (this.#heldMappings.at(-1) !== mapping) this.#heldMappings.push(mapping)
      for (let i = 0; i < this.#batch.length; i++) {
        this.#held.push(this.#batch.starts[i]!, this.#batch.ends[i]!, this.#heldMappings.length - 1)
        for (let page = this.#batch.starts[i]!; page < this.#batch.ends[i]!; page++) this.#heldPages.add(page as PageNumber)
      }
      this.#heldBytes += bytes
      this.#copiedPages += bytes / this.#pageBytes
    })
  }

  /** Whether the image has any page of the range so far, in the file or still in memory. */
  hasAny(range: PageRange): boolean {
    return this.file.holdsAny(range) || this.#heldPages.hasAny(range)
  }

  /** What was held goes to the file, in the order it was read. */
  flushHeld(): void {
    let at = 0
    for (let i = 0; i < this.#held.length; i++) {
      const pages = this.#held.ends[i]! - this.#held.starts[i]!
      this.file.store(this.#heldMappings[this.#held.states[i]!]!, this.#held.starts[i]!, pages, this.#holdBlock, at)
      at += pages * this.#pageBytes
    }
    this.#held.clear()
    this.#heldMappings.length = 0
    this.#heldPages = new PageBitmap()
    this.#heldBytes = 0
  }

  /** Room, as holes that cost nothing, for memory that was never touched: a debugger is to read zeros there. */
  reserveWhole(mappings: readonly Mapping[]): void {
    for (const mapping of mappings) {
      if (this.share(mapping) !== 'whole' || !(mapping.readable || mapping.writable)) continue
      if (this.layout.fits(mapping)) this.layout.reserve(mapping, mapping)
    }
  }

  /** Pages that an earlier round saved and the target has since dropped. */
  erase(range: PageRange): void {
    this.copyBlock.bytes.fill(0, 0, this.#pageBytes)
    this.file.erase(range, this.copyBlock)
  }

  #saveBatch(source: Process, mapping: Mapping): void {
    this.#readBatch(source, mapping, this.copyBlock, 0)
    let at = 0
    for (let i = 0; i < this.#batch.length; i++) {
      const pages = this.#batch.ends[i]! - this.#batch.starts[i]!
      this.file.store(mapping, this.#batch.starts[i]!, pages, this.copyBlock, at)
      at += pages * this.#pageBytes
    }
    this.#copiedPages += at / this.#pageBytes
    this.workingSet.giveBack()
  }

  #readBatch(source: Process, mapping: Mapping, into: Block, at: number): void {
    this.workingSet.noteSwapped(source, mapping, this.#batch)
    readPages(this.kernel, source, this.#batch, 0, this.#batch.length, into, at, this.#readingOf(source, mapping))
  }

  /** A copy that we made shares all it has with the target, and other forks may share with it too. */
  #readingOf(source: Process, mapping: Mapping): Reading {
    return !mapping.shared && (source !== this.process || this.detail(mapping)?.sharesPages === true) ? 'unpinned' : 'fast'
  }

  /** Cuts the regions into batches of at most `bytesMax`, in {@link #batch}. */
  #inBatches(regions: RegionList, bytesMax: number, each: () => void): void {
    const pagesMax = bytesMax / this.#pageBytes
    let pages = 0
    this.#batch.clear()
    for (let i = 0; i < regions.length; i++) {
      let start = regions.starts[i]!
      const end = regions.ends[i]!
      while (start < end) {
        const take = Math.min(end - start, pagesMax - pages)
        this.#batch.push(start, start + take)
        pages += take
        start += take
        if (pages === pagesMax) {
          each()
          this.#batch.clear()
          pages = 0
        }
      }
    }
    if (pages > 0) each()
  }
}
