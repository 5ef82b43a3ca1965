import { isFileBacked, objectKey, type Mapping } from '../memory/mapping.ts'
import type { PageRange } from '../memory/page-range.ts'
import type { Clock } from '../kernel/clock.ts'
import type { FileStamp, HiddenWriters, Process } from '../kernel/process.ts'
import type { HiddenWrites } from './report.ts'

type FileChange = 'none' | 'cut' | 'perhaps'

/** Looking through other processes and open files may take one part in this many of our time. */
const DUTY = 50

/**
 * What changes memory without showing in its page tables, looked for before each report:
 * other processes' writes to shared memory, write(2) and truncation of a mapped file, devices and io_uring writing to
 * pinned pages, O_DIRECT reads under way, pages that KSM merges.
 */
export class HiddenWritesWatch {
  readonly #process: Process
  readonly #writers: Paced<{ readonly of: ReadonlySet<string>; readonly found: ReadonlyMap<string, number[]> }>
  readonly #kernelWriters: Paced<HiddenWriters>
  #stamps = new Map<string, FileStamp | undefined>()
  #changes = new Map<string, FileChange>()
  #shared: ReadonlySet<string> = new Set()
  #pinnedPages = 0
  #buffersBefore: readonly PageRange[] = []

  constructor(process: Process, clock: Clock) {
    this.#process = process
    this.#writers = new Paced(clock, () => ({ of: this.#shared, found: this.#shared.size === 0 ? new Map() : process.otherWriters(this.#shared) }))
    this.#kernelWriters = new Paced(clock, () => process.hiddenWriters())
  }

  /** Looks before pages are collected: what a file's times miss then, they show the next time. */
  look(mappings: readonly Mapping[]): void {
    const files = mappings.filter(isFileBacked)
    this.#shared = new Set(files.filter((mapping) => mapping.shared).map(objectKey))
    this.#writers.look()
    const pinned = this.#process.pinnedPages()
    if (pinned !== this.#pinnedPages) this.#kernelWriters.expire()
    this.#pinnedPages = pinned
    this.#buffersBefore = this.#kernelWriters.value.fixedBuffers
    this.#kernelWriters.look()
    this.#compareStamps(files)
  }

  #compareStamps(files: readonly Mapping[]): void {
    const stamps = new Map<string, FileStamp | undefined>()
    this.#changes = new Map()
    for (const mapping of files) {
      const key = objectKey(mapping)
      if (stamps.has(key)) continue
      const before = this.#stamps.get(key)
      const stamp = this.#process.fileStamp(mapping)
      stamps.set(key, stamp)
      if (this.#stamps.has(key)) this.#changes.set(key, compare(before, stamp))
    }
    this.#stamps = stamps
  }

  /**
   * How the mapping's object was changed otherwise than through mappings: not at all; cut to another length, or punched; or, as
   * its times tell, perhaps: they change with every write through a shared mapping too.
   */
  changeOf(mapping: Mapping): FileChange {
    return isFileBacked(mapping) ? this.#changes.get(objectKey(mapping)) ?? 'none' : 'none'
  }

  /** Registered with io_uring, now or when last looked: the kernel writes there at any time. */
  get fixedBuffers(): readonly PageRange[] {
    return [...this.#buffersBefore, ...this.#kernelWriters.value.fixedBuffers]
  }

  of(mapping: Mapping): HiddenWrites[] {
    const found: HiddenWrites[] = []
    const { of: asked, found: writers } = this.#writers.value
    const pids = mapping.shared ? writers.get(objectKey(mapping)) : undefined
    if (mapping.shared && isFileBacked(mapping) && !asked.has(objectKey(mapping))) {
      found.push({ kind: 'shared-writers', why: 'it is new, and who else can write it has not been looked up yet' })
    } else if (pids !== undefined) {
      const listed = pids.length <= 3 ? pids.join(', ') : `${pids.slice(0, 3).join(', ')} and ${pids.length - 3} more`
      found.push({ kind: 'shared-writers', why: `process ${listed} can write it too` })
    }
    const change = this.changeOf(mapping)
    if (mapping.shared && change === 'perhaps') {
      found.push({ kind: 'file-written', why: 'it was written, perhaps with write(2) or by another process, which shows in no page table' })
    } else if (!mapping.shared && change !== 'none') {
      found.push({ kind: 'file-written', why: 'its file was written: pages of it that the process has not loaded yet may be others now' })
    }
    return found
  }

  ofProcess(softDirty: boolean): HiddenWrites[] {
    const { pinnedPages, fixedBuffers, directFiles } = this.#kernelWriters.value
    const found: HiddenWrites[] = []
    const unexplained = pinnedPages - fixedBuffers.reduce((pages, { start, end }) => pages + end - start, 0)
    if (unexplained > 0) found.push({ kind: 'pinned', why: `${unexplained} pages are pinned for a device, whose writes no tracking sees` })
    if (directFiles > 0) found.push({ kind: 'direct-io', why: `${directFiles} files are open for O_DIRECT reading, whose data may arrive after the page was reported` })
    const merged = softDirty ? this.#process.mergedPages() : 0
    if (merged > 0) found.push({ kind: 'merged', why: `KSM has merged ${merged} pages, and lost their soft-dirty bits` })
    return found
  }
}

function compare(before: FileStamp | undefined, now: FileStamp | undefined): FileChange {
  if (before === undefined || now === undefined) return 'perhaps'
  if (before.bytes !== now.bytes || now.blocks < before.blocks) return 'cut'
  return before.times === now.times && before.settled ? 'none' : 'perhaps'
}

/** Something costly to find out, asked again when it has paid off. */
class Paced<T> {
  readonly #clock: Clock
  readonly #ask: () => T
  #value: T | undefined
  #dueNs = 0

  constructor(clock: Clock, ask: () => T) {
    this.#clock = clock
    this.#ask = ask
  }

  expire(): void {
    this.#dueNs = 0
  }

  look(): void {
    const startNs = this.#clock.nowNs()
    if (startNs < this.#dueNs) return
    this.#value = this.#ask()
    const endNs = this.#clock.nowNs()
    this.#dueNs = endNs + (endNs - startNs) * DUTY
  }

  get value(): T {
    return this.#value ??= this.#ask()
  }
}
