import type { Block } from '../kernel/block.ts'
import type { Clock } from '../kernel/clock.ts'
import { putU64 } from './block.ts'
import { systemCall } from './ffi.ts'
import { NR } from './system-calls.ts'

const SCHED_OTHER = 0
const SCHED_FIFO = 1

/** CLOCK_MONOTONIC through Node; sleeping through the kernel, which blocks this thread and nothing else. */
export function linuxClock(request: Block): Clock {
  const words = new Uint32Array(request.bytes.buffer, request.bytes.byteOffset, 4)
  return {
    settle: () => globalThis.gc?.({ type: 'minor', execution: 'sync' }),
    yield: () => void systemCall(NR.schedYield),
    urgent(on) {
      words[0] = on ? 1 : 0
      systemCall(NR.schedSetscheduler, 0, on ? SCHED_FIFO : SCHED_OTHER, request.address)
    },
    nowNs: () => performance.now() * 1e6,
    processorNs() {
      const { user, system } = process.cpuUsage()
      return (user + system) * 1e3
    },
    sleepNs(ns) {
      putU64(words, 0, Math.floor(ns / 1e9))
      putU64(words, 2, ns % 1e9)
      systemCall(NR.nanosleep, request.address, 0)
    },
  }
}
