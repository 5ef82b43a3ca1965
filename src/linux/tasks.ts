import type { Block } from '../kernel/block.ts'
import type { Clock } from '../kernel/clock.ts'
import type { SeizeOutcome, TaskStatus, Tasks, TraceOptions } from '../kernel/tasks.ts'
import { getU64, putU64 } from './block.ts'
import { callFailed, errno } from './errno.ts'
import { systemCall } from './ffi.ts'
import { listProc, readProc, readStat } from './proc.ts'
import { refusedTracing } from './refusals.ts'
import { schedField, SchedulerClock } from './scheduler-clock.ts'
import { NR } from './system-calls.ts'

/** include/uapi/linux/ptrace.h. The newest, GET_RSEQ_CONFIGURATION, is of Linux 5.13. */
const PTRACE = {
  cont: 7, detach: 17, syscall: 24, seize: 0x4206, interrupt: 0x4207, setOptions: 0x4200, getEventMessage: 0x4201,
  getRegisterSet: 0x4204, setRegisterSet: 0x4205, getSignalMask: 0x420a, setSignalMask: 0x420b, getRseq: 0x420f,
}
const OPTION = { traceSysgood: 1, traceClone: 8, exitKill: 1 << 20, suspendSeccomp: 1 << 21 }
const SIGTRAP = 5
const EVENT_CLONE = 3
const EVENT_STOP = 128
const WNOHANG = 1
const WALL = 0x4000_0000
/** include/linux/sched.h: a thread that io_uring made for itself, and one that any driver did (Linux 6.4). */
const PF_IO_WORKER = 0x10
const PF_USER_WORKER = 0x4000

export function linuxTasks(clock: Clock, scratch: Block): Tasks {
  const { buffer, byteOffset, length } = scratch.bytes
  const words = new Uint32Array(buffer, byteOffset, length / 4)
  const longs = new BigUint64Array(buffer, byteOffset, length / 8)
  const bytes = new DataView(buffer, byteOffset, length)
  const schedulerClock = new SchedulerClock(clock)

  const ptrace = (request: number, tid: number, address = 0, data = 0): number =>
    systemCall(NR.ptrace, request, tid, address, data)

  function mustPtrace(operation: string, result: number, tid: number): void {
    if (result < 0) throw callFailed(operation, result, { pid: tid })
  }

  return {
    threads: (pid) => listProc(`/proc/${pid}/task`).map(Number),

    runnable: (pid) => listProc(`/proc/${pid}/task`).filter((tid) => readStat(`/proc/${pid}/task/${tid}/stat`)?.fields[0] === 'R').length,

    seize(tid): SeizeOutcome {
      const result = ptrace(PTRACE.seize, tid)
      if (result === 0) return 'seized'
      if (result === -errno.ESRCH) return 'gone'
      if (result === -errno.EPERM || result === -errno.EACCES) return 'not-permitted'
      throw callFailed('attaching', result, { pid: tid })
    },

    interrupt(tid) {
      ptrace(PTRACE.interrupt, tid) // ESRCH when it is gone: the next poll says so.
    },

    poll(tid): TaskStatus | undefined {
      const result = systemCall(NR.wait4, tid, scratch.address, WNOHANG | WALL, 0)
      if (result === 0) return undefined
      if (result < 0) return { kind: 'gone' }
      return decodeStatus(words[0]!)
    },

    resume(tid, to, signal) {
      ptrace(to === 'syscall' ? PTRACE.syscall : PTRACE.cont, tid, 0, signal)
    },

    detach(tid, signal) {
      ptrace(PTRACE.detach, tid, 0, signal)
    },

    setOptions(tid, options: TraceOptions) {
      const mask =
        (options.syscalls ? OPTION.traceSysgood : 0) | (options.clones ? OPTION.traceClone : 0) |
        (options.killOnExit ? OPTION.exitKill : 0) | (options.suspendSeccomp ? OPTION.suspendSeccomp : 0)
      return ptrace(PTRACE.setOptions, tid, 0, mask) === 0 ? 'set' : 'refused'
    },

    newTask(tid) {
      mustPtrace('asking for the new task', ptrace(PTRACE.getEventMessage, tid, 0, scratch.address), tid)
      return getU64(words, 0)
    },

    kill(pid) {
      systemCall(NR.kill, pid, 9)
    },

    readRegisters(tid, set, into: Block, at, lengthMax) {
      putU64(words, 0, into.address + at)
      putU64(words, 2, lengthMax)
      const result = ptrace(PTRACE.getRegisterSet, tid, set, scratch.address)
      if (result === -errno.ESRCH) return 'gone'
      return result < 0 ? 0 : getU64(words, 2)
    },

    writeRegisters(tid, from: Block, at, length) {
      putU64(words, 0, from.address + at)
      putU64(words, 2, length)
      const NT_PRSTATUS = 1
      mustPtrace('writing registers', ptrace(PTRACE.setRegisterSet, tid, NT_PRSTATUS, scratch.address), tid)
    },

    readSignalMask(tid) {
      mustPtrace('reading the signal mask', ptrace(PTRACE.getSignalMask, tid, 8, scratch.address), tid)
      return longs[0]!
    },

    writeSignalMask(tid, mask) {
      longs[0] = mask
      mustPtrace('writing the signal mask', ptrace(PTRACE.setSignalMask, tid, 8, scratch.address), tid)
    },

    rseqAbort(tid, pc) {
      if (ptrace(PTRACE.getRseq, tid, 24, scratch.address) < 24) return undefined
      const area = longs[0]!
      if (area === 0n) return undefined
      return abortAddress(tid, area, pc)
    },

    takeFile(pid, fd) {
      const handle = systemCall(NR.pidfdOpen, pid, 0)
      if (handle < 0) throw callFailed('opening the process', handle, { pid })
      const file = systemCall(NR.pidfdGetfd, handle, fd, 0)
      systemCall(NR.close, handle)
      if (file < 0) throw callFailed('taking the userfaultfd', file, { pid })
      return file
    },

    sleepCount: (tid) => schedField(tid, 'nr_voluntary_switches'),
    lastRanNs: (tids) => schedulerClock.lastRanNs(tids),

    whyRefused(pid, tid) {
      const fields = readStat(`/proc/${pid}/task/${tid}/stat`)?.fields
      if (fields === undefined || fields[0] === 'Z' || fields[0] === 'X') return 'ended'
      return (Number(fields[6]) & (PF_IO_WORKER | PF_USER_WORKER)) !== 0 ? 'kernel-worker' : 'forbidden'
    },

    refusal: refusedTracing,

    currentCall(tid) {
      const number = Number.parseInt(readProc(`/proc/${tid}/syscall`) ?? '', 10)
      return Number.isNaN(number) ? undefined : number
    },

    describeWait(tid) {
      const state = readStat(`/proc/${tid}/stat`)?.fields[0] ?? '?'
      const where = readProc(`/proc/${tid}/wchan`) ?? '0'
      return `state ${state}${where === '0' || where === '' ? '' : `, in ${where}`}`
    },
  }

  /** struct rseq and struct rseq_cs, include/uapi/linux/rseq.h. */
  function abortAddress(tid: number, area: bigint, pc: bigint): bigint | undefined {
    const readAt = (address: bigint, length: number): boolean => {
      putU64(words, 0, scratch.address + 512)
      putU64(words, 2, length)
      putU64(words, 4, Number(address))
      putU64(words, 6, length)
      return systemCall(NR.processVmReadv, tid, scratch.address, 1, scratch.address + 16, 1, 0) === length
    }
    if (!readAt(area + 8n, 8)) return undefined
    const section = bytes.getBigUint64(512, true)
    if (section === 0n || !readAt(section, 32)) return undefined
    const start = bytes.getBigUint64(520, true)
    const length = bytes.getBigUint64(528, true)
    return pc >= start && pc < start + length ? bytes.getBigUint64(536, true) : undefined
  }
}

function decodeStatus(status: number): TaskStatus {
  if ((status & 0xff) !== 0x7f) return { kind: 'gone' }
  const signal = (status >>> 8) & 0xff
  const event = status >>> 16
  if (event === EVENT_STOP) return signal === SIGTRAP ? { kind: 'trap' } : { kind: 'group-stop', signal }
  if (event === EVENT_CLONE) return { kind: 'clone' }
  if (event !== 0) return { kind: 'other-event' }
  if (signal === (SIGTRAP | 0x80)) return { kind: 'syscall' }
  return { kind: 'signal', signal }
}
