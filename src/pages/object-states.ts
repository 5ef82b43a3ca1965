import type { Mapping } from '../memory/mapping.ts'
import type { PageShift } from '../memory/address.ts'
import { IN_MEMORY_PAGES_MAX, type MappedObject, type Residence } from '../kernel/address-space.ts'
import { State } from './tally.ts'

/** Fewer pages are sooner told by halving. */
const BY_PAGE_LEAST = 16

/**
 * Tells the states of a mapping's pages that its page tables know nothing of, from the object behind it. A stretch is asked for
 * as a whole, and only halved where its pages differ, or told page by page where one call can do that: a million alike cost one call.
 *
 * What cachestat and SEEK_DATA say, Linux 6.18 (filemap_cachestat(), mapping_seek_hole_data()):
 *
 *     page of the object        cached  evicted  data
 *     in the page cache              1        0   yes
 *     shared memory in swap          0        1   yes   (also while a copy is still in the swap cache, where mincore says 1)
 *     fallocated, never written      1        0    no
 *     hole                           0        0    no
 *     file, only on disk             0    0 or 1   yes   (1: reclaim remembers it)
 */
export class ObjectStates {
  readonly #object: MappedObject
  readonly #tell: (start: number, end: number, state: number) => void
  /** Page of the mapping minus page of the object. */
  readonly #shift: number
  readonly #found: Residence = { cachedPages: 0, evictedPages: 0 }
  /** Set once the kernel has not told us something. */
  untold = false

  constructor(object: MappedObject, mapping: Mapping, shift: PageShift, tell: (start: number, end: number, state: number) => void) {
    this.#object = object
    this.#tell = tell
    this.#shift = mapping.start - mapping.offset / 2 ** shift
  }

  /** Tells pages `start` up to `end` of the mapping, in ascending order. */
  classify(start: number, end: number): void {
    const [first, last] = [start - this.#shift, end - this.#shift]
    const inside = Math.max(first, Math.min(last, this.#object.pages))
    if (first < inside) this.#classifyInside(first, inside)
    if (inside < last) this.#say(inside, last, State.pastEnd)
  }

  #classifyInside(first: number, last: number): void {
    if (this.#object.residence(first, last, this.#found) === 'unknown') {
      this.#uncounted(first, last)
      return
    }
    this.#split(first, last, this.#found.cachedPages, this.#evicted())
  }

  /** Of a file, reclaimed pages are as good as those that were never read. */
  #evicted(): number {
    return this.#object.kind === 'shmem' ? this.#found.evictedPages : 0
  }

  /** The right half's counts are what the left half leaves; they may be off by pages that moved between the calls. */
  #split(first: number, last: number, cached: number, evicted: number): void {
    const pages = last - first
    if (cached >= pages) this.#inCache(first, last)
    else if (cached <= 0 && evicted >= pages) this.#say(first, last, State.swapped)
    else if (cached <= 0 && evicted <= 0) this.#notInMemory(first, last)
    else if (evicted > 0 || pages > IN_MEMORY_PAGES_MAX || !this.#byPage(first, last, cached)) {
      const middle = first + Math.floor(pages / 2)
      this.#object.residence(first, middle, this.#found)
      const [leftCached, leftEvicted] = [this.#found.cachedPages, this.#evicted()]
      this.#split(first, middle, leftCached, leftEvicted)
      this.#split(middle, last, cached - leftCached, evicted - leftEvicted)
    }
  }

  /**
   * Tells a stretch of which nothing is in swap by mincore, which has one answer for each page but takes what is in the swap
   * cache for cached, and tells no fallocated memory: so its sum must be what cachestat counts. Returns false, and tells nothing, if not.
   */
  #byPage(first: number, last: number, cached: number): boolean {
    const inMemory = last - first < BY_PAGE_LEAST ? undefined : this.#object.inMemory(first, last)
    if (inMemory === undefined || inMemory.reduce((sum, byte) => sum + (byte & 1), 0) !== cached) return false
    const tellRest = this.#restOf(first, last)
    for (let at = 0; at < inMemory.length;) {
      const bit = inMemory[at]! & 1
      let end = at + 1
      while (end < inMemory.length && (inMemory[end]! & 1) === bit) end++
      if (bit === 1) this.#say(first + at, first + end, State.cached)
      else tellRest(first + at, first + end)
      at = end
    }
    return true
  }

  /** Most files have no holes, which one question tells. */
  #restOf(first: number, last: number): (first: number, last: number) => void {
    const isWhole = this.#object.kind !== 'shmem' && this.#object.nextData(first) === first && this.#object.nextHole(first) >= last
    return isWhole ? (from, to) => this.#say(from, to, State.uncached) : (from, to) => this.#notInMemory(from, to)
  }

  #inCache(first: number, last: number): void {
    if (this.#object.kind === 'shmem') this.#byData(first, last, State.cached, State.fallocated)
    else this.#say(first, last, State.cached)
  }

  #notInMemory(first: number, last: number): void {
    if (this.#object.kind === 'shmem') this.#say(first, last, State.hole)
    else this.#byData(first, last, State.uncached, State.hole)
  }

  /** Without counts, data may be anywhere; without data there is at most reserved memory. */
  #uncounted(first: number, last: number): void {
    this.untold = true
    this.#byData(first, last, State.unknown, this.#object.kind === 'shmem' ? State.unknown : State.hole)
  }

  #byData(first: number, last: number, data: number, hole: number): void {
    for (let at = first; at < last;) {
      const begin = Math.min(this.#object.nextData(at), last)
      if (begin > at) this.#say(at, begin, hole)
      if (begin >= last) return
      // An object that changes meanwhile may say that its data ends where it began.
      at = Math.min(Math.max(this.#object.nextHole(begin), begin + 1), last)
      this.#say(begin, at, data)
    }
  }

  #say(first: number, last: number, state: number): void {
    this.#tell(first + this.#shift, last + this.#shift, state)
  }
}
