import { closeSync, statfsSync, type BigIntStats } from 'node:fs'
import type { PageShift } from '../memory/address.ts'
import { IN_MEMORY_PAGES_MAX, type MappedObject, type Residence } from '../kernel/address-space.ts'
import type { Block } from '../kernel/block.ts'
import { getU64, putU64 } from './block.ts'
import { systemCall } from './ffi.ts'
import { NR } from './system-calls.ts'

const SEEK_DATA = 3
const SEEK_HOLE = 4
/** include/uapi/linux/magic.h. */
const TMPFS_MAGIC = 0x0102_1994
const HUGETLBFS_MAGIC = 0x9584_58f6
/** Of st_blocks, whatever the file system's own. */
const BLOCK_BYTES = 512
/** struct cachestat_range { off, len } and, behind it, struct cachestat { nr_cache, nr_dirty, nr_writeback, nr_evicted, … }. */
const CACHED_WORD = 4
const EVICTED_WORD = 10
const ARGUMENT_BYTES = 128
const PROT_NONE = 0
const MAP_SHARED = 1

export const MAPPED_FILE_BLOCK_BYTES = ARGUMENT_BYTES + IN_MEMORY_PAGES_MAX

/** A file of a mapping, open for reading in our process; no page of it is read. */
export class MappedFile implements MappedObject, Disposable {
  readonly kind: 'file' | 'shmem' | 'hugetlb'
  readonly pages: number
  readonly residentPages: number
  readonly #file: number
  readonly #pageBytes: number
  readonly #block: Block
  readonly #words: Uint32Array

  /** `block`, of {@link MAPPED_FILE_BLOCK_BYTES}, holds what goes in and comes out of each call. */
  constructor(file: number, stat: BigIntStats, shift: PageShift, block: Block) {
    this.#file = file
    this.#block = block
    this.#words = new Uint32Array(block.bytes.buffer, block.bytes.byteOffset, 32)
    this.#pageBytes = 2 ** shift
    this.pages = Math.ceil(Number(stat.size) / this.#pageBytes)
    this.residentPages = (Number(stat.blocks) * BLOCK_BYTES) / this.#pageBytes
    const { type } = statfsSync(`/proc/self/fd/${file}`)
    this.kind = type === TMPFS_MAGIC ? 'shmem' : type === HUGETLBFS_MAGIC ? 'hugetlb' : 'file'
  }

  /**
   * cachestat(2), Linux 6.5. Newer kernels refuse it with EPERM for files that we do not own and may not write;
   * hugetlbfs does not have it. Length 0 would mean all the rest.
   */
  residence(start: number, end: number, found: Residence): 'counted' | 'unknown' {
    if (end <= start) return 'unknown'
    putU64(this.#words, 0, start * this.#pageBytes)
    putU64(this.#words, 2, (end - start) * this.#pageBytes)
    const result = systemCall(NR.cachestat, this.#file, this.#block.address, this.#block.address + 16, 0)
    if (result < 0) return 'unknown'
    found.cachedPages = getU64(this.#words, CACHED_WORD)
    found.evictedPages = getU64(this.#words, EVICTED_WORD)
    return 'counted'
  }

  /**
   * mincore(2) of a mapping of our own, which is never touched: it then tells of the file's pages
   * (__mincore_unmapped_range(), mm/mincore.c, Linux 6.18).
   */
  inMemory(start: number, end: number): Uint8Array | undefined {
    const bytes = (end - start) * this.#pageBytes
    const at = systemCall(NR.mmap, 0, bytes, PROT_NONE, MAP_SHARED, this.#file, start * this.#pageBytes)
    if (at < 0) return undefined
    const result = systemCall(NR.mincore, at, bytes, this.#block.address + ARGUMENT_BYTES)
    systemCall(NR.munmap, at, bytes)
    return result < 0 ? undefined : this.#block.bytes.subarray(ARGUMENT_BYTES, ARGUMENT_BYTES + end - start)
  }

  nextData(page: number): number {
    const at = systemCall(NR.lseek, this.#file, page * this.#pageBytes, SEEK_DATA)
    return at < 0 ? this.pages : Math.max(page, Math.floor(at / this.#pageBytes)) // ENXIO: none up to the end.
  }

  nextHole(page: number): number {
    const at = systemCall(NR.lseek, this.#file, page * this.#pageBytes, SEEK_HOLE)
    return at < 0 ? this.pages : Math.max(page, Math.ceil(at / this.#pageBytes))
  }

  [Symbol.dispose](): void {
    closeSync(this.#file)
  }
}

/** A device, which has no pages that could be asked for. */
export const deviceObject: MappedObject = {
  kind: 'device', pages: 0, residentPages: 0, residence: () => 'unknown', inMemory: () => undefined, nextData: (page) => page, nextHole: (page) => page,
}
