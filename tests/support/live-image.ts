import { closeSync, openSync, readSync, writeSync } from 'node:fs'
import type { ImageUnderTest } from './checked-image.ts'

/**
 * The memory of a process that runs on while it is read: an image torn on purpose, to see a
 * checker find it torn; and of a process at rest, what the checker must find whole.
 */
export function liveImage(pid: number): ImageUnderTest & Disposable {
  const fd = openSync(`/proc/${pid}/mem`, 'r')
  return {
    read(address, length) {
      const bytes = new Uint8Array(length)
      for (let done = 0; done < length; ) {
        const count = readSync(fd, bytes, done, length - done, address + BigInt(done))
        if (count <= 0) throw new Error(`${done} of ${length} bytes`)
        done += count
      }
      return bytes
    },
    [Symbol.dispose]: () => closeSync(fd),
  }
}

/** Writes a word behind the guest's back, to see the guest notice. */
export function tamper(pid: number, address: bigint, value: bigint): void {
  const fd = openSync(`/proc/${pid}/mem`, 'r+')
  try {
    const bytes = new Uint8Array(8)
    new DataView(bytes.buffer).setBigUint64(0, value, true)
    // writeSync, unlike readSync, ignores a position that is a bigint.
    writeSync(fd, bytes, 0, 8, Number(address))
  } finally {
    closeSync(fd)
  }
}
