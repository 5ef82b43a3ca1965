import type { PageShift } from '../memory/address.ts'
import type { Userfault, WriteProtection } from '../kernel/userfaults.ts'
import { allocateBlock, getU64, putU64 } from './block.ts'
import { callFailed, errno } from './errno.ts'
import { systemCall } from './ffi.ts'
import { POLLIN, pollFile } from './poll.ts'
import { NR } from './system-calls.ts'

/** include/uapi/linux/userfaultfd.h */
export const UFFDIO_API = 0xc018_aa3f
export const UFFDIO_REGISTER = 0xc020_aa00
const UFFDIO_UNREGISTER = 0x8010_aa01
const UFFDIO_WRITEPROTECT = 0xc018_aa06
export const UFFDIO_API_VERSION = 0xaa
const REGISTER_MODE_MISSING = 1
const REGISTER_MODE_WP = 2
const WRITEPROTECT_MODE_WP = 1
/** A multiple of every huge page size but 1 GiB. */
const UNPROTECT_BYTES = 32 << 20
/**
 * Features to ask for, the fullest set first: an unknown one fails the call and leaves the descriptor usable.
 * WP_ASYNC is of Linux 6.7 and brings WP_UNPOPULATED with it; WP_HUGETLBFS_SHMEM of 5.19; PAGEFAULT_FLAG_WP of 5.7.
 */
const FEATURES: Readonly<Record<WriteProtection, readonly number[]>> = { async: [1 << 15], sync: [1 << 0 | 1 << 12, 1 << 0] }
/** struct uffd_msg: an event, and for a page fault its address at byte 16. */
const MESSAGE_BYTES = 32
const MESSAGES_AT = 256
const MESSAGES_BYTES = 64 * MESSAGE_BYTES
const EVENT_PAGEFAULT = 0x12
/** Waking an idle processor costs more than asking again for so long. */
const SPIN_NS = 50_000

/**
 * Takes over a userfaultfd created in the target. With exactly WP_ASYNC and mode WP any kind of mapping can be
 * registered, private files too, but not kernel-special ones such as [vdso] (since 6.12.105); without it
 * anonymous, shared and hugetlb memory. The file is closed with it, by `closeFile` where that is not plain close(2).
 */
export function openUserfault(file: number, shift: PageShift, protection: WriteProtection, closeFile = closePlainly): Userfault | 'refused' {
  const userfault = new LinuxUserfault(file, shift, closeFile)
  if (FEATURES[protection].some((features) => userfault.negotiate(features))) return userfault
  userfault[Symbol.dispose]()
  return 'refused'
}

function closePlainly(file: number): void {
  systemCall(NR.close, file)
}

class LinuxUserfault implements Userfault {
  readonly #file: number
  readonly #pageBytes: number
  readonly #block = allocateBlock(4096)
  readonly #words = new Uint32Array(this.#block.bytes.buffer)
  readonly #closeFile: (file: number) => void
  #open = true

  constructor(file: number, shift: PageShift, closeFile: (file: number) => void) {
    this.#file = file
    this.#closeFile = closeFile
    this.#pageBytes = 2 ** shift
  }

  negotiate(features: number): boolean {
    this.#words.fill(0, 0, 6)
    this.#words[0] = UFFDIO_API_VERSION
    this.#words[2] = features
    return this.#ioctl(UFFDIO_API) >= 0
  }

  #ioctl(request: number): number {
    return systemCall(NR.ioctl, this.#file, request, this.#block.address)
  }

  #putRange(start: number, end: number, mode: number): void {
    putU64(this.#words, 0, start * this.#pageBytes)
    putU64(this.#words, 2, (end - start) * this.#pageBytes)
    putU64(this.#words, 4, mode)
  }

  register({ start, end }: { readonly start: number; readonly end: number }): 'registered' | 'owned' | 'refused' | 'gone' {
    this.#putRange(start, end, REGISTER_MODE_WP)
    const result = this.#ioctl(UFFDIO_REGISTER)
    if (result >= 0) return 'registered'
    if (result === -errno.EBUSY) return 'owned'
    if (result === -errno.EINVAL || result === -errno.EPERM) return 'refused'
    if (result === -errno.ESRCH || result === -errno.ENOENT) return 'gone'
    throw callFailed('registering a mapping', result)
  }

  protect({ start, end }: { readonly start: number; readonly end: number }): 'protected' | 'unregistered' | 'gone' {
    this.#putRange(start, end, WRITEPROTECT_MODE_WP)
    const result = this.#ioctl(UFFDIO_WRITEPROTECT)
    if (result >= 0) return 'protected'
    if (result === -errno.ENOENT || result === -errno.EINVAL) return 'unregistered'
    if (result === -errno.ESRCH) return 'gone'
    throw callFailed('protecting pages', result)
  }

  unprotect(range: { readonly start: number; readonly end: number }): void {
    const pages = UNPROTECT_BYTES / this.#pageBytes
    for (let start = range.start; start < range.end; start += pages) {
      this.#putRange(start, Math.min(range.end, start + pages), 0)
      this.#ioctl(UFFDIO_WRITEPROTECT) // What fails here, closing undoes.
    }
  }

  unregister({ start, end }: { readonly start: number; readonly end: number }): void {
    this.#putRange(start, end, 0)
    this.#ioctl(UFFDIO_UNREGISTER) // What fails here, closing undoes.
  }

  serve(waitNs: number): number {
    let served = this.#serveQueued()
    if (served > 0 || waitNs <= 0) return served
    if (pollFile(this.#file, POLLIN, waitNs / 1e6) === 0) return 0
    // Faults come in bursts: for a moment, ask again before going to sleep.
    for (let until = performance.now() + SPIN_NS / 1e6; performance.now() < until;) served += this.#serveQueued()
    return served
  }

  #serveQueued(): number {
    let served = 0
    for (;;) {
      const bytes = systemCall(NR.read, this.#file, this.#block.address + MESSAGES_AT, MESSAGES_BYTES)
      if (bytes < MESSAGE_BYTES) return served
      for (let at = MESSAGES_AT; at < MESSAGES_AT + bytes; at += MESSAGE_BYTES) {
        if (this.#block.bytes[at] !== EVENT_PAGEFAULT) continue
        this.#release(Math.floor(getU64(this.#words, at / 4 + 4) / this.#pageBytes))
        served++
      }
    }
  }

  /** Unprotecting wakes. A huge page of hugetlb can only be unprotected whole: EINVAL for less (mwriteprotect_range(), mm/userfaultfd.c). */
  #release(page: number): void {
    for (const bytes of [this.#pageBytes, 2 << 20, 32 << 20, 512 << 20, 1 << 30]) {
      const pages = bytes / this.#pageBytes
      const start = Math.floor(page / pages) * pages
      this.#putRange(start, start + pages, 0)
      if (this.#ioctl(UFFDIO_WRITEPROTECT) !== -errno.EINVAL) return
    }
  }

  dropTracking({ start, end }: { readonly start: number; readonly end: number }): 'dropped' | 'refused' {
    this.#putRange(start, end, REGISTER_MODE_MISSING)
    return this.#ioctl(UFFDIO_REGISTER) < 0 ? 'refused' : 'dropped'
  }

  [Symbol.dispose](): void {
    if (!this.#open) return
    this.#open = false
    this.#closeFile(this.#file)
    this.#block[Symbol.dispose]()
  }
}
