import type { PageShift } from '../memory/address.ts'
import type { RegionList } from '../memory/region-list.ts'
import type { Block } from '../kernel/block.ts'
import { allocateBlock, putU64 } from './block.ts'
import { callFailed, errno } from './errno.ts'
import { systemCall } from './ffi.ts'
import { NR } from './system-calls.ts'

/** include/uapi/asm-generic/mman-common.h */
const MADV_PAGEOUT = 21
/** IOV_MAX, include/uapi/linux/uio.h. */
const PIECES_MAX = 1024
/** O_EXCL: a thread that is not the first of its process (Linux 6.9). */
const PIDFD_THREAD = 0o200

/**
 * process_madvise(2) with MADV_PAGEOUT: Linux 5.10, with CAP_SYS_NICE and the permission to read the process (5.12).
 * Takes pages out whether or not they were used lately, at 4.4 µs a page to zram, 0.6 where the page is still as it is in
 * swap. Leaves what more than one process maps (madvise_cold_or_pageout_pte_range(), mm/madvise.c, Linux 6.18).
 */
export class PageOut implements Disposable {
  readonly #task: number
  readonly #pageBytes: number
  #file: number | undefined
  #vectors: Block | undefined

  constructor(task: number, shift: PageShift) {
    this.#task = task
    this.#pageBytes = 2 ** shift
  }

  /** No region at all is asked for too: whether we may is judged first. */
  pageOut(regions: RegionList): 'done' | 'refused' {
    const file = this.#file ??= openTask(this.#task)
    if (file < 0) return 'refused'
    const vectors = this.#vectors ??= allocateBlock(PIECES_MAX * 16)
    let from = 0
    do {
      const to = Math.min(regions.length, from + PIECES_MAX)
      const bytes = this.#fillVectors(vectors, regions, from, to)
      const advised = systemCall(NR.processMadvise, file, vectors.address, to - from, MADV_PAGEOUT, 0)
      if (advised === -errno.EPERM || advised === -errno.EACCES || advised === -errno.ENOSYS) return 'refused'
      if (advised === -errno.ESRCH) return 'done'
      // A piece that was unmapped, or locked, since (ENOMEM, EINVAL) ends the call: the rest is tried without it.
      if (advised < 0 && advised !== -errno.ENOMEM && advised !== -errno.EINVAL) throw callFailed('paging out', advised, { pid: this.#task })
      from = advised === bytes ? to : this.#after(regions, from, Math.max(0, advised)) + 1
    } while (from < regions.length)
    return 'done'
  }

  #fillVectors(vectors: Block, regions: RegionList, from: number, to: number): number {
    const words = new Uint32Array(vectors.bytes.buffer)
    let bytes = 0
    for (let i = from, w = 0; i < to; i++, w += 4) {
      const length = (regions.ends[i]! - regions.starts[i]!) * this.#pageBytes
      putU64(words, w, regions.starts[i]! * this.#pageBytes)
      putU64(words, w + 2, length)
      bytes += length
    }
    return bytes
  }

  /** The region, counted from the first, in which that many bytes end. */
  #after(regions: RegionList, first: number, bytes: number): number {
    let i = first
    for (let left = bytes / this.#pageBytes; i < regions.length && left >= regions.ends[i]! - regions.starts[i]!; i++) left -= regions.ends[i]! - regions.starts[i]!
    return i
  }

  [Symbol.dispose](): void {
    if (this.#file !== undefined && this.#file >= 0) systemCall(NR.close, this.#file)
    this.#vectors?.[Symbol.dispose]()
  }
}

function openTask(task: number): number {
  const file = systemCall(NR.pidfdOpen, task, 0)
  return file >= 0 ? file : systemCall(NR.pidfdOpen, task, PIDFD_THREAD)
}
