import type { Clock } from '../kernel/clock.ts'
import { allocateBlock } from './block.ts'
import { systemCall } from './ffi.ts'
import { readProc, readStat } from './proc.ts'
import { NR } from './system-calls.ts'

const AFFINITY_BYTES = 1024

/** A number in /proc/TID/sched (CONFIG_SCHED_DEBUG until 6.14, always since); `self` is the asking thread. */
export function schedField(tid: number | 'self', field: string): number | undefined {
  const text = readProc(tid === 'self' ? '/proc/thread-self/sched' : `/proc/${tid}/sched`)
  const at = text?.indexOf(`\n${field} `) ?? -1
  if (text === undefined || at < 0) return undefined
  return Number.parseFloat(text.slice(text.indexOf(':', at) + 1))
}

/**
 * When sleeping threads last ran: se.exec_start is when the scheduler last charged one, in milliseconds of the task
 * clock of the processor it was on (rq_clock_task, kernel/sched/core.c, Linux 6.18). That clock leaves out time
 * stolen by a hypervisor, so each processor has its own; how far it is from ours is read off
 * a thread that has just woken there: ourselves, moved for a moment.
 *
 * Stolen time only ever moves such a clock back. Compared after the threads were read, and never with an older
 * comparison, it gives a moment that is right or too late: nobody's timeout is cut too short.
 */
export class SchedulerClock {
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
  }

  lastRanNs(tids: readonly number[]): Map<number, number> {
    const read = tids.map((tid) => ({ tid, processor: Number(readStat(`/proc/${tid}/stat`)?.fields[36]), ran: schedField(tid, 'se.exec_start') }))
    const ahead = new Map([...new Set(read.map(({ processor }) => processor))].map((processor) => [processor, this.#measure(processor)]))
    const found = new Map<number, number>()
    for (const { tid, processor, ran } of read) {
      const aheadNs = ahead.get(processor)
      if (ran !== undefined && aheadNs !== undefined) found.set(tid, ran * 1e6 - aheadNs)
    }
    return found
  }

  /** How far the processor's task clock is ahead of ours. */
  #measure(processor: number): number | undefined {
    if (!(processor < AFFINITY_BYTES * 8)) return undefined
    using block = allocateBlock(2 * AFFINITY_BYTES)
    const wanted = block.bytes.subarray(AFFINITY_BYTES)
    wanted[processor >>> 3] = 1 << (processor & 7)
    const size = systemCall(NR.schedGetaffinity, 0, AFFINITY_BYTES, block.address)
    if (size < 0 || systemCall(NR.schedSetaffinity, 0, AFFINITY_BYTES, block.address + AFFINITY_BYTES) < 0) return undefined
    this.#clock.sleepNs(50_000)
    const ran = schedField('self', 'se.exec_start')
    const now = this.#clock.nowNs()
    systemCall(NR.schedSetaffinity, 0, size, block.address)
    return ran === undefined ? undefined : ran * 1e6 - now
  }
}
