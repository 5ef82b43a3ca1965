import { TidemarkError } from './kernel/errors.ts'
import type { Kernel } from './kernel/kernel.ts'
import type { Process } from './kernel/process.ts'
import { describeRound, type WrittenReport } from './tracking/report.ts'
import { Tracking, type TrackingOptions } from './tracking/tracking.ts'
import type { WatchOutcome } from './watch/sample.ts'
import { Watch, type WatchOptions } from './watch/watch.ts'

/** So long a request may wait for us while we wait for writes that we have to let pass. */
const SERVE_NS = 5_000_000

/** The processes an engine tracks or watches between requests. */
export class Trackings {
  readonly #kernel: Kernel
  readonly #open = new Map<number, { readonly process: Process; readonly tracking: Tracking }>()
  readonly #watches = new Map<number, Watch>()
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

  beginWatch(pid: number, options: WatchOptions): void {
    if (this.#watches.has(pid)) throw new TidemarkError('usage', `process ${pid} is watched already`, { pid, hint: 'name each process once' })
    this.#watches.set(pid, new Watch(this.#kernel, pid, options))
    this.#serve()
  }

  look(pid: number): WatchOutcome {
    const watch = this.#watches.get(pid)
    if (watch === undefined) throw new TidemarkError('usage', `process ${pid} is not watched`, { pid })
    const outcome = watch.look()
    if (outcome.kind === 'gone') this.#watches.delete(pid)
    return outcome
  }

  endWatch(pid: number): void {
    this.#watches.get(pid)?.end()
    this.#watches.delete(pid)
  }

  #waiting(): [pid: number, waiting: { readonly needsServing: boolean; serve(waitNs: number): void }][] {
    const tracked = [...this.#open].map(([pid, { tracking }]) => [pid, tracking] as const)
    return [...tracked, ...this.#watches].filter(([, waiting]) => waiting.needsServing).map(([pid, waiting]) => [pid, waiting])
  }

  /** Nothing that takes long may be done while writes of a target wait for us. */
  requireNoneWaits(): void {
    const pid = this.#waiting()[0]?.[0]
    if (pid !== undefined) throw new TidemarkError('usage', `process ${pid} is tracked with wp-sync, and its writes would have to wait`, { pid, hint: 'end the tracking first, or attach once more' })
  }

  /** Between requests, lets threads go on that wait for us, in slices that leave requests their turn. */
  #serve(): void {
    const waiting = this.#waiting()
    if (waiting.length === 0 || this.#serving) return
    this.#serving = true
    setImmediate(() => {
      this.#serving = false
      for (const [, target] of waiting) target.serve(SERVE_NS / waiting.length)
      this.#serve()
    })
  }
}
