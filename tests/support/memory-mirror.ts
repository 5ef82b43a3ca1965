import type { WrittenReport } from '#dist/tracking/report.js'
import { ProcMemory, readMaps } from './oracle-tracker.ts'
import { ReportedPages } from './tracker-check.ts'

const PAGE_BYTES = 4096
const ZEROS = Buffer.alloc(PAGE_BYTES)
const READ_PAGES = 256

export interface Difference {
  readonly page: number
  /** Bytes of the page that are not as in the mirror. */
  readonly bytes: number
  readonly mapping: string
}

export interface MirrorOptions {
  /** Which mappings to mirror. Default: all private ones that can be written. */
  readonly wanted?: (mapping: { readonly permissions: string; readonly path: string; readonly start: number; readonly end: number }) => boolean
  /** How to read. Default: /proc/PID/mem. */
  readonly read?: (at: bigint, length: number) => Promise<Uint8Array>
}

/**
 * A copy of a process's memory that is kept by reports alone: what they name is read again, nothing else. If tracking misses a
 * write, the copy differs in the end. A page may be read while it is written: it is then in the next report too.
 */
export class MemoryMirror implements Disposable {
  readonly #pid: number
  readonly #memory: ProcMemory
  readonly #pages = new Map<number, Buffer>()
  readonly #wanted: NonNullable<MirrorOptions['wanted']>
  readonly #read: MirrorOptions['read']

  constructor(pid: number, { wanted = ({ permissions }) => permissions.startsWith('rw') && permissions[3] === 'p', read }: MirrorOptions = {}) {
    this.#pid = pid
    this.#memory = new ProcMemory(pid)
    this.#wanted = wanted
    this.#read = read
  }

  get pages(): number {
    return this.#pages.size
  }

  /** Copies everything, once: when the mark has been set, and not before. */
  async copyAll(): Promise<void> {
    for (const mapping of readMaps(this.#pid)) if (this.#wanted(mapping)) await this.#copyPopulated(mapping.start, mapping.end)
  }

  async update(report: WrittenReport): Promise<void> {
    const maps = readMaps(this.#pid).filter((mapping) => this.#wanted(mapping))
    let first = 0
    for (const [start, end] of new ReportedPages(report).ranges()) {
      while (first < maps.length && maps[first]!.end <= start) first++
      for (let i = first; i < maps.length && maps[i]!.start < end; i++) await this.#copyPopulated(Math.max(start, maps[i]!.start), Math.min(end, maps[i]!.end))
    }
  }

  /** The populated pages that are not as in the mirror. Precondition: the process stands still, and the last report is in. */
  differences(): { readonly compared: number; readonly found: Difference[] } {
    const found: Difference[] = []
    let compared = 0
    for (const mapping of readMaps(this.#pid)) {
      if (!this.#wanted(mapping)) continue
      const there = this.#memory.populated(mapping.start, mapping.end)
      for (let page = mapping.start; page < mapping.end; page++) {
        const now = there[page - mapping.start] ? this.#memory.page(page) : undefined
        if (now === undefined) continue
        compared++
        const then = this.#pages.get(page) ?? ZEROS
        if (!then.equals(now)) found.push({ page, bytes: now.reduce((sum, byte, i) => sum + (byte === then[i] ? 0 : 1), 0), mapping: `${mapping.permissions} ${mapping.path || '(anonymous)'}` })
      }
    }
    return { compared, found }
  }

  async #copyPopulated(start: number, end: number): Promise<void> {
    for (let at = start; at < end; at += READ_PAGES) {
      const stop = Math.min(end, at + READ_PAGES)
      const there = this.#memory.populated(at, stop)
      for (let page = at; page < stop; page++) if (!there[page - at]) this.#pages.delete(page)
      for (let page = at; page < stop;) {
        let next = page
        while (next < stop && there[next - at]) next++
        if (next > page) await this.#copyRun(page, next)
        page = Math.max(next, page + 1)
      }
    }
  }

  async #copyRun(start: number, end: number): Promise<void> {
    if (this.#read === undefined) {
      for (let page = start; page < end; page++) this.#keep(page, this.#memory.page(page))
      return
    }
    const bytes = Buffer.from(await this.#read(BigInt(start) * BigInt(PAGE_BYTES), (end - start) * PAGE_BYTES))
    // What could not be read is gone by now.
    for (let page = start, at = 0; page < end; page++, at += PAGE_BYTES) this.#keep(page, at + PAGE_BYTES <= bytes.length ? bytes.subarray(at, at + PAGE_BYTES) : undefined)
  }

  #keep(page: number, bytes: Buffer | undefined): void {
    const kept = this.#pages.get(page)
    if (bytes === undefined) this.#pages.delete(page)
    else if (kept === undefined) this.#pages.set(page, Buffer.from(bytes))
    else bytes.copy(kept)
  }

  [Symbol.dispose](): void {
    this.#memory[Symbol.dispose]()
  }
}
