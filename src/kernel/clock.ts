/** Monotonic time in nanoseconds. A double holds it exactly for the first 104 days of uptime, to 2 ns after that. */
export interface Clock {
  nowNs(): number
  /** Gives the processor away for about this long. */
  sleepNs(ns: number): void
  /** Lets another task run first if one waits for this processor. */
  yield(): void
}
