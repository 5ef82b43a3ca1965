/** The clear lines for a process that cannot be traced. */
import { TidemarkError } from '../kernel/errors.ts'
import { readProc, readStat, statusLine } from './proc.ts'

export function notPermitted(pid: number, cause?: unknown): TidemarkError {
  const tracer = tracerOf(pid)
  if (tracer !== 0) {
    const name = readStat(`/proc/${tracer}/stat`)?.name ?? 'unknown'
    return new TidemarkError('not-permitted', `process ${pid} is already traced by process ${tracer} (${name})`, { pid, hint: 'a process has one tracer at a time: detach that one first' })
  }
  return new TidemarkError('not-permitted', `not permitted to trace process ${pid}`, {
    pid, cause, hint: 'run as root or as its owner, with CAP_SYS_PTRACE, and see kernel.yama.ptrace_scope; `tidemark check` tells what is missing',
  })
}

/** For those who only look: a tracer is no obstacle to that. */
export function notReadable(pid: number, cause: unknown): TidemarkError {
  return new TidemarkError('not-permitted', `not permitted to look at the memory of process ${pid}`, {
    pid, cause, hint: 'run as root or as its owner, with CAP_SYS_PTRACE; `tidemark check` tells what is missing',
  })
}

/** What we could open (the same permission) but not trace was traced by another, who has let go meanwhile. */
export function refusedTracing(pid: number): TidemarkError {
  if (tracerOf(pid) !== 0) return notPermitted(pid)
  return new TidemarkError('not-permitted', `process ${pid} could not be traced: another process did so until a moment ago`, {
    pid, hint: 'try again; if it stays so, `tidemark check` tells what is missing',
  })
}

export function tracerOf(pid: number): number {
  return Number(statusLine(readProc(`/proc/${pid}/status`) ?? '', 'TracerPid') ?? 0)
}

export function processGone(pid: number): TidemarkError {
  return new TidemarkError('gone', `process ${pid} is gone`, { pid })
}
