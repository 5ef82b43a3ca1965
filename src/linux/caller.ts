import { allocateBlock } from './block.ts'
import { systemCall } from './ffi.ts'
import { NR } from './system-calls.ts'

const PR_SET_PDEATHSIG = 1
const SIGKILL = 9
const POLLHUP = 0x10
const STDIN = 0

/** Ends this process as soon as the one that started it has ended, however that came (prctl(2)). */
export function dieWithCaller(): void {
  const parent = process.ppid
  systemCall(NR.prctl, PR_SET_PDEATHSIG, SIGKILL)
  if (process.ppid !== parent) process.exit()
}

const request = allocateBlock(4096)
const fields = new Int32Array(request.bytes.buffer)
const shorts = new Int16Array(request.bytes.buffer)

/** Whether the caller has closed our standard input, which is how it says stop while we are too busy to listen. */
export function callerGone(): boolean {
  fields[0] = STDIN
  shorts[2] = 0 // events: hanging up is always told
  shorts[3] = 0
  fields[2] = 0
  fields[3] = 0
  fields[4] = 0
  fields[5] = 0
  return systemCall(NR.ppoll, request.address, 1, request.address + 8) > 0 && (shorts[3]! & POLLHUP) !== 0
}
