import type { Clock } from '../kernel/clock.ts'
import { allocateBlock } from './block.ts'
import { systemCall } from './ffi.ts'
import { readProc, readStat } from './proc.ts'
import { NR } from './system-calls.ts'

const AFFINITY_BYTES = 1024
/** Stolen time moves a processor's clock away from ours; not by much in so short a while. */
const TRUSTED_NS = 200_000_000

/** A number in /proc/TID/sched (CONFIG_SCHED_DEBUG until 6.14, always since); `self` is the asking thread. */
export function schedField(tid: number | 'self', field: string): number | undefined {
  const text = readProc(tid === 'self' ? '/proc/thread-self/sched' : `/proc/${tid}/sched`)
  const at = text?.indexOf(`\n${field} `) ?? -1
  if (text === undefined || at < 0) return undefined
  return Number.parseFloat(text.slice(text.indexOf(':', at) + 1))
}

/**
 * When a sleeping thread last ran: se.exec_start is when the scheduler last charged it, in milliseconds of the task
 * clock of the processor it was on (rq_clock_task, kernel/sched/core.c, Linux 6.18). That clock leaves out time
 * stolen by a hypervisor, so each processor has its own; how far it is from ours is read off
 * a thread that has just woken there: ourselves, moved for a moment.
 */
export class SchedulerClock {
  readonly #clock: Clock
  readonly #ahead = new Map<number, { readonly ns: number; readonly measuredNs: number }>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  lastRanNs(tid: number): number | undefined {
    const processor = Number(readStat(`/proc/${tid}/stat`)?.fields[36])
    const ran = schedField(tid, 'se.exec_start')
    if (ran === undefined || !Number.isInteger(processor)) return undefined
    const ahead = this.#aheadNs(processor)
    return ahead === undefined ? undefined : ran * 1e6 - ahead
  }

  #aheadNs(processor: number): number | undefined {
    const known = this.#ahead.get(processor)
    if (known !== undefined && this.#clock.nowNs() - known.measuredNs < TRUSTED_NS) return known.ns
    const ns = this.#measure(processor)
    if (ns !== undefined) this.#ahead.set(processor, { ns, measuredNs: this.#clock.nowNs() })
    return ns
  }

  #measure(processor: number): number | undefined {
    using block = allocateBlock(2 * AFFINITY_BYTES)
    const wanted = block.bytes.subarray(AFFINITY_BYTES)
    if (processor >= AFFINITY_BYTES * 8) return undefined
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
