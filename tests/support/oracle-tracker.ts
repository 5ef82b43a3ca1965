/**
 * A tracker without any mechanism: it reads all memory each time and compares byte by byte with what it read before. Slow, and
 * right by construction while the target stands still; with it the contract and the guest that it rests on are tried themselves.
 */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import type { MappingReport, WrittenReport } from '#dist/tracking/report.js'

const PAGE_BYTES = 4096
const EMPTY = Buffer.alloc(PAGE_BYTES)
/** Where an entry is not present: its kind of swap, and the kind that only keeps somebody's tracking. */
const TYPE_BITS = 31
const TYPE_MARKER = 31

export interface MapsLine {
  readonly start: number
  readonly end: number
  readonly permissions: string
  readonly inode: number
  readonly path: string
}

/** /proc/PID/maps, in pages. */
export function readMaps(pid: number): MapsLine[] {
  return readFileSync(`/proc/${pid}/maps`, 'utf8').trimEnd().split('\n').map((line) => {
    const [, start, end, permissions, inode, path] = /^(\w+)-(\w+) (\S+) \S+ \S+ (\d+) *(.*)$/.exec(line)!
    return { start: Number(BigInt(`0x${start}`) >> 12n), end: Number(BigInt(`0x${end}`) >> 12n), permissions: permissions!, inode: Number(inode), path: path! }
  })
}

/** A process's memory by /proc, read without tidemark. */
export class ProcMemory implements Disposable {
  readonly #file: number
  readonly #pagemap: number

  constructor(pid: number) {
    this.#file = openSync(`/proc/${pid}/mem`, 'r')
    this.#pagemap = openSync(`/proc/${pid}/pagemap`, 'r')
  }

  /** Which pages of the range are there, in memory or in swap. */
  populated(start: number, end: number): boolean[] {
    const entries = Buffer.alloc((end - start) * 8)
    const bytes = readSync(this.#pagemap, entries, 0, entries.length, start * 8)
    return Array.from({ length: end - start }, (_, i) => {
      if (i * 8 + 8 > bytes) return false
      const high = entries.readUInt32LE(i * 8 + 4)
      return high >>> 31 === 1 || ((high >>> 30 & 1) === 1 && (entries[i * 8]! & TYPE_BITS) !== TYPE_MARKER)
    })
  }

  /** The page's bytes; undefined where nothing can be read: a guard region, past a file's end, secret memory. */
  page(page: number): Buffer | undefined {
    const bytes = Buffer.alloc(PAGE_BYTES)
    try {
      return readSync(this.#file, bytes, 0, PAGE_BYTES, BigInt(page) * BigInt(PAGE_BYTES)) === PAGE_BYTES ? bytes : undefined
    } catch {
      return undefined
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#file)
    closeSync(this.#pagemap)
  }
}

/** Loses pages of its reports: what the contract must notice. */
export type Lossy = (page: number) => boolean

export class OracleTracker implements AsyncDisposable {
  readonly #pid: number
  readonly #memory: ProcMemory
  readonly #loses: Lossy
  #before = new Map<number, Buffer>()

  constructor(pid: number, loses: Lossy = () => false) {
    this.#pid = pid
    this.#memory = new ProcMemory(pid)
    this.#loses = loses
    this.#compare()
  }

  collect(): Promise<WrittenReport> {
    const mappings = this.#compare()
    const writtenPages = mappings.reduce((sum, mapping) => sum + mapping.writtenPages, 0)
    return Promise.resolve({ pid: this.#pid, pageBytes: PAGE_BYTES, atNs: 0, elapsedNs: 0, writtenPages, mappings, blindSpots: [], stopNs: 0 })
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#memory[Symbol.dispose]()
    return Promise.resolve()
  }

  #compare(): MappingReport[] {
    const now = new Map<number, Buffer>()
    const found = readMaps(this.#pid).filter(({ permissions }) => permissions[2] !== 'x').map((line) => this.#compareMapping(line, now))
    this.#before = now
    return found
  }

  #compareMapping(line: MapsLine, now: Map<number, Buffer>): MappingReport {
    const written: bigint[] = []
    const add = (page: number): void => {
      const start = BigInt(page) * BigInt(PAGE_BYTES)
      if (written.at(-1) === start) written.pop()
      else written.push(start)
      written.push(start + BigInt(PAGE_BYTES))
    }
    // What is not there in anonymous memory reads as zeros, and the oracle must not make it be there.
    const there = line.inode === 0 ? this.#memory.populated(line.start, line.end) : undefined
    for (let page = line.start; page < line.end; page++) {
      const bytes = there?.[page - line.start] === false ? undefined : this.#memory.page(page)
      if (!this.#before.get(page)?.equals(bytes ?? EMPTY) && !(this.#before.get(page) === undefined && (bytes ?? EMPTY).equals(EMPTY)) && !this.#loses(page)) add(page)
      if (bytes !== undefined && !bytes.equals(EMPTY)) now.set(page, bytes)
    }
    const hex = (page: number): string => `0x${(BigInt(page) * BigInt(PAGE_BYTES)).toString(16).padStart(16, '0')}`
    const writtenPages = written.reduce((sum, at, i) => sum + (i % 2 === 0 ? -1 : 1) * Number(at / BigInt(PAGE_BYTES)), 0)
    return { start: hex(line.start), end: hex(line.end), permissions: line.permissions, path: line.path, tracker: 'compare', blindSpots: [], writtenPages, written: BigUint64Array.from(written) }
  }
}
