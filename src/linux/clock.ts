import type { Clock } from '../kernel/clock.ts'
import { allocateBlock, putU64 } from './block.ts'
import { systemCall } from './ffi.ts'
import { NR } from './system-calls.ts'

/** CLOCK_MONOTONIC through Node; sleeping through the kernel, which blocks this thread and nothing else. */
export function linuxClock(): Clock {
  const request = allocateBlock(16)
  const words = new Uint32Array(request.bytes.buffer)
  return {
    yield: () => void systemCall(NR.schedYield),
    nowNs: () => performance.now() * 1e6,
    sleepNs(ns) {
      putU64(words, 0, Math.floor(ns / 1e9))
      putU64(words, 2, ns % 1e9)
      systemCall(NR.nanosleep, request.address, 0)
    },
  }
}
