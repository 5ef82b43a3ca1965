import type { PageShift } from '../memory/address.ts'
import type { Userfault } from '../kernel/userfaults.ts'
import { allocateBlock, putU64 } from './block.ts'
import { callFailed, errno } from './errno.ts'
import { systemCall } from './ffi.ts'
import { NR } from './system-calls.ts'

/** include/uapi/linux/userfaultfd.h */
export const UFFDIO_API = 0xc018_aa3f
export const UFFDIO_REGISTER = 0xc020_aa00
const UFFDIO_UNREGISTER = 0x8010_aa01
const UFFDIO_WRITEPROTECT = 0xc018_aa06
export const UFFDIO_API_VERSION = 0xaa
const REGISTER_MODE_MISSING = 1
const REGISTER_MODE_WP = 2
/** A multiple of every huge page size but 1 GiB. */
const UNPROTECT_BYTES = 32 << 20
/** Linux 6.7; brings WP_UNPOPULATED with it. */
const FEATURE_WP_ASYNC = 1 << 15

/**
 * Takes over a userfaultfd created in the target. With exactly WP_ASYNC and mode WP any kind of mapping can be
 * registered, private files too, but not kernel-special ones such as [vdso] (since 6.12.105).
 * The file is closed with it, by `closeFile` where that is not plain close(2).
 */
export function openUserfault(file: number, shift: PageShift, closeFile = (file: number): void => void systemCall(NR.close, file)): Userfault | 'refused' {
  const block = allocateBlock(4096)
  const words = new Uint32Array(block.bytes.buffer)
  const pageBytes = 2 ** shift
  let open = true
  const close = (): void => {
    if (!open) return
    open = false
    closeFile(file)
    block[Symbol.dispose]()
  }
  const putRange = (start: number, end: number): void => {
    putU64(words, 0, start * pageBytes)
    putU64(words, 2, (end - start) * pageBytes)
  }
  words[0] = UFFDIO_API_VERSION
  words[2] = FEATURE_WP_ASYNC
  if (systemCall(NR.ioctl, file, UFFDIO_API, block.address) < 0) {
    close()
    return 'refused'
  }
  return {
    registerAsync(range) {
      putRange(range.start, range.end)
      putU64(words, 4, REGISTER_MODE_WP)
      const result = systemCall(NR.ioctl, file, UFFDIO_REGISTER, block.address)
      if (result >= 0) return 'registered'
      if (result === -errno.EBUSY) return 'owned'
      if (result === -errno.EINVAL || result === -errno.EPERM) return 'refused'
      if (result === -errno.ESRCH || result === -errno.ENOENT) return 'gone'
      throw callFailed('registering a mapping', result)
    },
    unprotect(range) {
      const pages = UNPROTECT_BYTES / pageBytes
      for (let start: number = range.start; start < range.end; start += pages) {
        putRange(start, Math.min(range.end, start + pages))
        putU64(words, 4, 0)
        systemCall(NR.ioctl, file, UFFDIO_WRITEPROTECT, block.address) // What fails here, closing undoes.
      }
    },
    dropTracking(range) {
      putRange(range.start, range.end)
      putU64(words, 4, REGISTER_MODE_MISSING)
      return systemCall(NR.ioctl, file, UFFDIO_REGISTER, block.address) < 0 ? 'refused' : 'dropped'
    },
    unregister(range) {
      putRange(range.start, range.end)
      systemCall(NR.ioctl, file, UFFDIO_UNREGISTER, block.address) // What fails here, closing undoes.
    },
    [Symbol.dispose]: close,
  }
}
