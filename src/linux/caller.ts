import { systemCall } from './ffi.ts'
import { POLLHUP, pollFile } from './poll.ts'
import { NR } from './system-calls.ts'

const PR_SET_PDEATHSIG = 1
const SIGKILL = 9
const STDIN = 0

/** Ends this process as soon as the one that started it has ended, however that came (prctl(2)). */
export function dieWithCaller(): void {
  const parent = process.ppid
  systemCall(NR.prctl, PR_SET_PDEATHSIG, SIGKILL)
  if (process.ppid !== parent) process.exit()
}

/** Whether the caller has closed our standard input, which is how it says stop while we are too busy to listen. */
export function callerGone(): boolean {
  return (pollFile(STDIN, 0, 0) & POLLHUP) !== 0
}
