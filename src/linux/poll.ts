import { allocateBlock } from './block.ts'
import { systemCall } from './ffi.ts'
import { NR } from './system-calls.ts'

/** include/uapi/asm-generic/poll.h */
export const POLLIN = 1
export const POLLOUT = 4
export const POLLHUP = 0x10

/** struct pollfd, then the time to wait. */
const block = allocateBlock(4096)
const ints = new Int32Array(block.bytes.buffer)
const shorts = new Int16Array(block.bytes.buffer)
const longs = new BigInt64Array(block.bytes.buffer)

/** What happened to an open file, of `events` or a hang-up, within the time; 0 for nothing. */
export function pollFile(file: number, events: number, timeoutMs: number): number {
  ints[0] = file
  shorts[2] = events
  shorts[3] = 0
  longs[1] = BigInt(Math.floor(timeoutMs / 1000))
  longs[2] = BigInt(Math.round((timeoutMs % 1000) * 1_000_000))
  return systemCall(NR.ppoll, block.address, 1, block.address + 8) > 0 ? shorts[3]! : 0
}
