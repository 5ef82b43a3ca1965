/**
 * linux/ is the real kernel, and the only room that calls C; this file is the only one that imports the FFI library.
 * One entry does nearly all: the C library's syscall(2). A call costs about 0.25 µs.
 *
 * The memory rule (its breach crashes): an address handed to the kernel points into a Block (block.ts),
 * never into a typed array, which V8 may move, pool or free.
 */
import { createRequire } from 'node:module'

const load = createRequire(import.meta.url)

/** Loaded by the first call: whoever imports the package and only talks to an engine is spared 15 ms and 4 MiB. */
let library: ReturnType<typeof loadLibrary> | undefined

function loadLibrary() {
  const koffi = load('koffi') as typeof import('koffi')
  const c = koffi.load(null)
  return {
    koffi,
    call: c.func('intptr_t syscall(long number, intptr_t a, intptr_t b, intptr_t c, intptr_t d, intptr_t e, intptr_t f)'),
    pageSize: c.func('int getpagesize()'),
  }
}

/** Performs a system call. Returns its result, or minus the error number: errno is only right at once, so it is read here. */
export function systemCall(number: number, a = 0, b = 0, c = 0, d = 0, e = 0, f = 0): number {
  library ??= loadLibrary()
  const result = library.call(number, a, b, c, d, e, f) as number
  return result === -1 ? -library.koffi.errno() : result
}

/** Bytes of ours at an address, seen without copying. */
export function viewMemory(address: number, length: number): ArrayBuffer {
  library ??= loadLibrary()
  return library.koffi.view(BigInt(address), length)
}

/**
 * Where the bytes of an array over an ArrayBuffer or SharedArrayBuffer are; 0 for none. They are off V8's heap and stay there
 * as long as the buffer is reachable and not detached: this alone keeps nothing alive.
 */
export function addressOfBytes(bytes: Uint8Array): number {
  library ??= loadLibrary()
  return Number(library.koffi.address(bytes))
}

/** getpagesize(3), which needs no /proc. */
export function pageBytes(): number {
  library ??= loadLibrary()
  return library.pageSize() as number
}
