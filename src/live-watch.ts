import { isTidemarkError } from './kernel/errors.ts'
import { Session } from './session.ts'
import type { TrackingOptions } from './tracking/tracking.ts'
import type { WatchOutcome } from './watch/sample.ts'

/** Watches processes. Each look is one call, so the caller sets the pace. */
export class LiveWatch implements AsyncDisposable {
  readonly #session = new Session()

  /** @internal Use {@link watchProcesses}. */
  static async begin(pids: readonly number[], options: TrackingOptions & { readonly budgetShare: number }): Promise<LiveWatch> {
    const watch = new LiveWatch()
    try {
      for (const pid of pids) await watch.#session.request({ kind: 'watch', pid, options })
      return watch
    } catch (error) {
      await watch[Symbol.asyncDispose]()
      throw error
    }
  }

  /** What happened since the last look at this process. Once it is gone, it is watched no more. */
  look(pid: number): Promise<WatchOutcome> {
    return this.#session.request({ kind: 'look', pid })
  }

  /** Stops watching one process, without holding it up. */
  async end(pid: number): Promise<void> {
    try {
      await this.#session.request({ kind: 'unwatch', pid })
    } catch (error) {
      if (!isTidemarkError(error)) throw error // It has ended, or does not stop; ending the session lets go of it all the same.
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session[Symbol.asyncDispose]()
  }
}
