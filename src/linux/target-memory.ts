import { closeSync, openSync, readSync, writeSync } from 'node:fs'
import type { Address, PageShift } from '../memory/address.ts'
import type { RegionList } from '../memory/region-list.ts'
import type { Block } from '../kernel/block.ts'
import { TidemarkError } from '../kernel/errors.ts'
import type { TargetMemory } from '../kernel/target-memory.ts'
import { allocateBlock, putU64 } from './block.ts'
import { callFailed, errno } from './errno.ts'
import { systemCall } from './ffi.ts'
import { NR } from './system-calls.ts'

/** IOV_MAX, include/uapi/linux/uio.h. */
const PIECES_MAX = 1024

/** process_vm_readv for speed, /proc/PID/mem where the mapping forbids reading (it uses FOLL_FORCE). */
export class LinuxMemory implements TargetMemory, Disposable {
  readonly #pid: number
  readonly #pageBytes: number
  readonly #file: number
  readonly #vectors = allocateBlock((PIECES_MAX + 1) * 16)
  readonly #words = new Uint32Array(this.#vectors.bytes.buffer)

  constructor(pid: number, shift: PageShift) {
    this.#pid = pid
    this.#pageBytes = 2 ** shift
    this.#file = openSync(`/proc/${pid}/mem`, 'r+')
  }

  gather(regions: RegionList, from: number, to: number, into: Block, at: number): number | 'gone' {
    let total = 0
    for (let first = from; first < to; first += PIECES_MAX) {
      const last = Math.min(to, first + PIECES_MAX)
      const wanted = this.#fillVectors(regions, first, last, into.address + at + total)
      const read = systemCall(NR.processVmReadv, this.#pid, this.#vectors.address, 1, this.#vectors.address + 16, last - first, 0)
      if (read === -errno.ESRCH) return 'gone'
      if (read === -errno.EFAULT) return total
      if (read < 0) throw callFailed('reading memory', read, { pid: this.#pid })
      total += read
      if (read < wanted) return total
    }
    return total
  }

  /** One vector of ours, then one a region of the target's. */
  #fillVectors(regions: RegionList, from: number, to: number, localAddress: number): number {
    const words = this.#words
    let bytes = 0
    for (let i = from, w = 4; i < to; i++, w += 4) {
      const length = (regions.ends[i]! - regions.starts[i]!) * this.#pageBytes
      putU64(words, w, regions.starts[i]! * this.#pageBytes)
      putU64(words, w + 2, length)
      bytes += length
    }
    putU64(words, 0, localAddress)
    putU64(words, 2, bytes)
    return bytes
  }

  /** /proc/PID/mem takes a reference to each page in turn and pins none (__access_remote_vm(), mm/memory.c, Linux 6.18). */
  gatherUnpinned(regions: RegionList, from: number, to: number, into: Block, at: number): number | 'gone' {
    let total = 0
    for (let i = from; i < to; i++) {
      const length = (regions.ends[i]! - regions.starts[i]!) * this.#pageBytes
      for (let done = 0; done < length;) {
        const read = systemCall(NR.pread64, this.#file, into.address + at + total, length - done, regions.starts[i]! * this.#pageBytes + done)
        if (read === 0 && done === 0 && i === from) return 'gone' // The memory we opened has no user any more.
        if (read <= 0) return total
        done += read
        total += read
      }
    }
    return total
  }

  peek(start: Address, length: number, into: Block, at: number): number {
    try {
      return readSync(this.#file, into.bytes, at, length, start)
    } catch {
      return 0 // EIO: no page can be had there.
    }
  }

  poke(start: Address, bytes: Uint8Array): void {
    const written = writeSync(this.#file, bytes, 0, bytes.length, Number(start))
    if (written !== bytes.length) throw new TidemarkError('failed', 'writing memory: short write', { pid: this.#pid })
  }

  [Symbol.dispose](): void {
    closeSync(this.#file)
    this.#vectors[Symbol.dispose]()
  }
}
