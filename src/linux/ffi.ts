/**
 * linux/ is the real kernel, and the only room that calls C; this file is the only one that imports the FFI library.
 * One entry is enough: the C library's syscall(2). A call costs about 0.25 µs.
 *
 * The memory rule (its breach crashes): an address handed to the kernel points into a Block (block.ts),
 * never into a typed array, which V8 may move, pool or free.
 */
import koffi from 'koffi'

const library = koffi.load(null)
const rawCall = library.func(
  'intptr_t syscall(long number, intptr_t a, intptr_t b, intptr_t c, intptr_t d, intptr_t e, intptr_t f)',
)

/** Performs a system call. Returns its result, or minus the error number: errno is only right at once, so it is read here. */
export function systemCall(number: number, a = 0, b = 0, c = 0, d = 0, e = 0, f = 0): number {
  const result = rawCall(number, a, b, c, d, e, f) as number
  return result === -1 ? -koffi.errno() : result
}

/** Bytes of ours at an address, seen without copying. */
export function viewMemory(address: number, length: number): ArrayBuffer {
  return koffi.view(BigInt(address), length)
}

/**
 * Where the bytes of an array over an ArrayBuffer or SharedArrayBuffer are; 0 for none. They are off V8's heap and stay there
 * as long as the buffer is reachable and not detached: this alone keeps nothing alive.
 */
export function addressOfBytes(bytes: Uint8Array): number {
  return Number(koffi.address(bytes))
}
