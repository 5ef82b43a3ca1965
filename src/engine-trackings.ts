import { TidemarkError } from './kernel/errors.ts'
import type { Kernel } from './kernel/kernel.ts'
import type { Process } from './kernel/process.ts'
import { describeRound, type WrittenReport } from './tracking/report.ts'
import { Tracking, type TrackingOptions } from './tracking/tracking.ts'

/** So long a request may wait for us while we wait for writes that we have to let pass. */
const SERVE_NS = 5_000_000

/** The processes an engine tracks between requests. */
export class Trackings {
  readonly #kernel: Kernel
  readonly #open = new Map<number, { readonly process: Process; readonly tracking: Tracking }>()
  #serving = false

  constructor(kernel: Kernel) {
    this.#kernel = kernel
  }

  begin(pid: number, options: TrackingOptions): void {
    if (this.#open.has(pid)) throw new TidemarkError('usage', `process ${pid} is tracked already`, { pid, hint: 'end that first, or attach once more' })
    const process = this.#kernel.openProcess(pid)
    try {
      this.#open.set(pid, { process, tracking: new Tracking(this.#kernel, process, options) })
    } catch (error) {
      process[Symbol.dispose]()
      throw error
    }
    this.#serve()
  }

  collect(pid: number): WrittenReport {
    const open = this.#open.get(pid)
    if (open === undefined) throw new TidemarkError('usage', `process ${pid} is not tracked`, { pid })
    return describeRound(pid, this.#kernel.pageShift, open.tracking.collect())
  }

  end(pid: number): void {
    const open = this.#open.get(pid)
    if (open === undefined) return
    this.#open.delete(pid)
    try {
      open.tracking.end()
    } finally {
      open.process[Symbol.dispose]()
    }
  }

  /** Nothing that takes long may be done while writes of a target wait for us. */
  requireNoneWaits(): void {
    for (const [pid, { tracking }] of this.#open) {
      if (tracking.needsServing) throw new TidemarkError('usage', `process ${pid} is tracked with wp-sync, and its writes would have to wait`, { pid, hint: 'end the tracking first, or attach once more' })
    }
  }

  /** Between requests, lets threads go on that wait for us, in slices that leave requests their turn. */
  #serve(): void {
    const waiting = [...this.#open.values()].filter(({ tracking }) => tracking.needsServing)
    if (waiting.length === 0 || this.#serving) return
    this.#serving = true
    setImmediate(() => {
      this.#serving = false
      for (const { tracking } of waiting) tracking.serve(SERVE_NS / waiting.length)
      this.#serve()
    })
  }
}
