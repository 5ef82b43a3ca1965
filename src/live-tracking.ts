import type { Session } from './session.ts'
import type { TrackerName, WrittenReport } from './tracking/report.ts'

export interface TrackOptions {
  /** The mechanisms that may be used, in order of preference. Default: all, best first. */
  readonly trackers?: readonly TrackerName[]
  /** Nanoseconds to wait for a thread to stop. Default 1e9. */
  readonly freezeTimeoutNs?: number
}

/** A process whose writes are followed. Ends with its target's session, at the latest. */
export class LiveTracking implements AsyncDisposable {
  readonly #pid: number
  readonly #session: Session

  /** @internal Use {@link Target.track}. */
  constructor(pid: number, session: Session) {
    this.#pid = pid
    this.#session = session
  }

  /**
   * The pages written since the report before, or since tracking began; sets their marks again. Read the pages after this
   * returns: what is written from now on is in the next report. Errors: 'gone' when the process ended or executed another program.
   */
  collect(): Promise<WrittenReport> {
    return this.#session.request({ kind: 'collect', pid: this.#pid })
  }

  /** Stops tracking, without holding up the target. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#session.ended) return
    await this.#session.request({ kind: 'untrack', pid: this.#pid })
  }
}
