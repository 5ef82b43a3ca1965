/** Monotonic time in nanoseconds. A double holds it exactly for the first 104 days of uptime, to 2 ns after that. */
export interface Clock {
  nowNs(): number
  /** Processor time that our process has used. */
  processorNs(): number
  /** Gives the processor away for about this long. */
  sleepNs(ns: number): void
  /** Does now what the runtime of this process (its garbage collector) might otherwise do in the middle of a pause. */
  settle(): void
  /** Lets another task run first if one waits for this processor. */
  yield(): void
  /**
   * While on, no ordinary task takes this processor from us: a thread just let go would otherwise run first
   * and keep the others waiting. Never on while we wait for anybody. Without the privilege, nothing happens.
   */
  urgent(on: boolean): void
}
