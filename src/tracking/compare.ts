import { isFileBacked, type Mapping } from '../memory/mapping.ts'
import type { PageRange } from '../memory/page-range.ts'
import type { PageSpans } from '../memory/page-spans.ts'
import { RegionList } from '../memory/region-list.ts'
import type { Block } from '../kernel/block.ts'
import type { Kernel } from '../kernel/kernel.ts'
import type { Process } from '../kernel/process.ts'
import { readPages } from '../tracee/read-pages.ts'
import { drain, POPULATED, type Sink, type Tracker } from './tracker.ts'

const READ_BYTES = 1 << 20
/** Pages whose hashes are kept together. */
const CHUNK_PAGES = 4096

/**
 * A 64-bit hash of every populated page, kept and compared: works on every kernel and on every mapping that can be read, costs the target
 * nothing but its processor's caches, and us the reading of all of it every time. It sees what has changed, not what
 * was written: a page that holds the same bytes again counts as clean.
 */
export class CompareTracker implements Tracker {
  readonly name = 'compare'
  readonly registers = false
  readonly stopNs = 0
  readonly #kernel: Kernel
  readonly #process: Process
  readonly #found = new RegionList(4096)
  readonly #buffer: Block
  readonly #pagesAtOnce: number
  readonly #fresh: BigUint64Array
  /** By number of the chunk; 0 where there is no page. */
  readonly #chunks = new Map<number, BigUint64Array>()
  readonly #batch = new RegionList(1)

  readonly #meanwhile: () => void

  /** `meanwhile` is called again and again while memory is read, which takes long. */
  constructor(kernel: Kernel, process: Process, meanwhile: () => void) {
    this.#meanwhile = meanwhile
    this.#kernel = kernel
    this.#process = process
    this.#buffer = kernel.allocate(READ_BYTES)
    this.#pagesAtOnce = READ_BYTES / 2 ** kernel.pageShift
    this.#fresh = new BigUint64Array(this.#pagesAtOnce)
  }

  adopt(): 'adopted' {
    return 'adopted'
  }

  follows(): boolean {
    return true
  }

  forgetAllBut(): void {}

  mark(mappings: readonly Mapping[], sink: Sink): void {
    for (const mapping of mappings) this.#forget(mapping)
    this.collect(mappings, sink)
  }

  collect(mappings: readonly Mapping[], sink: Sink): void {
    const query = { all: 0, none: 0, any: POPULATED, report: 0, protect: false, trackedOnly: false }
    for (const mapping of mappings) {
      let gapFrom: number = mapping.start
      drain((start, found) => this.#process.pageTables.scan({ start, end: mapping.end }, query, found), mapping.start, this.#found, (regions) => {
        for (let i = 0; i < regions.length; i++) {
          this.#leave(mapping, gapFrom, regions.starts[i]!, sink)
          this.#compare(regions.starts[i]!, regions.ends[i]!, sink(mapping))
          gapFrom = regions.ends[i]!
        }
      })
      this.#leave(mapping, gapFrom, mapping.end, sink)
    }
  }

  #compare(start: number, end: number, changed: PageSpans): void {
    for (let from = start; from < end; from += this.#pagesAtOnce) {
      const count = Math.min(this.#pagesAtOnce, end - from)
      this.#batch.clear()
      this.#batch.push(from, from + count)
      readPages(this.#kernel, this.#process, this.#batch, 0, 1, this.#buffer, 0)
      this.#meanwhile()
      this.#kernel.hashPages(this.#buffer, 0, count, this.#fresh, 0)
      for (let i = 0; i < count; i++) if (this.#exchange(from + i, this.#fresh[i]!)) changed.add(from + i, from + i + 1)
    }
  }

  /** Keeps the hash of a page; whether it is another than before. */
  #exchange(page: number, hash: bigint): boolean {
    const key = Math.floor(page / CHUNK_PAGES)
    let chunk = this.#chunks.get(key)
    if (chunk === undefined) this.#chunks.set(key, chunk = new BigUint64Array(CHUNK_PAGES))
    const at = page % CHUNK_PAGES
    if (chunk[at] === hash) return false
    chunk[at] = hash
    return true
  }

  /** Pages that are not there. Of a file or shared memory they may have changed before they went, or show the file again. */
  #leave(mapping: Mapping, start: number, end: number, sink: Sink): void {
    if (isFileBacked(mapping)) for (let page = start; page < end; page = this.#nextKnown(page + 1, end)) if (this.#isKnown(page)) sink(mapping).add(page, page + 1)
    this.#forget({ start, end } as PageRange)
  }

  #isKnown(page: number): boolean {
    const hash = this.#chunks.get(Math.floor(page / CHUNK_PAGES))?.[page % CHUNK_PAGES]
    return hash !== undefined && hash !== 0n
  }

  /** Skips what no page was ever known of. */
  #nextKnown(page: number, end: number): number {
    while (page < end && !this.#chunks.has(Math.floor(page / CHUNK_PAGES))) page = (Math.floor(page / CHUNK_PAGES) + 1) * CHUNK_PAGES
    return page
  }

  /** A page that is not there has no contents: when it comes, it is new. */
  #forget({ start, end }: PageRange): void {
    for (let page: number = start; page < end;) {
      const key = Math.floor(page / CHUNK_PAGES)
      const until = Math.min(end, (key + 1) * CHUNK_PAGES)
      if (until - page === CHUNK_PAGES) this.#chunks.delete(key)
      else this.#chunks.get(key)?.fill(0n, page % CHUNK_PAGES, page % CHUNK_PAGES + until - page)
      page = until
    }
  }

  readonly lost: ReadonlySet<number> = new Set()
  readonly needsServing = false

  serve(): number {
    return 0
  }

  end(): void {
    this[Symbol.dispose]()
  }

  [Symbol.dispose](): void {
    this.#buffer[Symbol.dispose]()
  }
}
