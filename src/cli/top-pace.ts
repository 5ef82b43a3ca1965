import type { WatchOutcome } from '../index.ts'

/** What `top` needs of a watch; `Watch` of the library is one. */
export interface Looking {
  look(pid: number): Promise<WatchOutcome>
}

/** When to look: the user may change it, hold it and end it at any moment. */
export class Pace {
  readonly #end = new AbortController()
  #intervalNs: number
  #paused = false
  #changed: (() => void) | undefined

  constructor(intervalNs: number) {
    this.#intervalNs = intervalNs
  }

  get ended(): boolean {
    return this.#end.signal.aborted
  }

  set({ intervalNs, paused }: { readonly intervalNs: number; readonly paused: boolean }): void {
    this.#intervalNs = intervalNs
    this.#paused = paused
    this.#changed?.()
  }

  /** Looks no more. One that is under way is not waited for. */
  end(): void {
    this.#end.abort()
    this.#changed?.()
  }

  /**
   * Looks at each process in turn, `count` times, until it is gone or the pace has ended. Between two looks lies the interval,
   * or what the watch itself asks for to keep its budget, if that is longer. Also before the first: it tells what was written since the start.
   */
  async *outcomes(watch: Looking, pids: readonly number[], count = Infinity): AsyncGenerator<WatchOutcome, void, undefined> {
    const turns = new Map(pids.map((pid) => [pid, { pid, lastMs: performance.now(), leastNs: 0, left: count }]))
    while (turns.size > 0) {
      const turn = [...turns.values()].reduce((first, other) => (this.#dueMs(other) < this.#dueMs(first) ? other : first))
      if (!await this.#until(() => this.#dueMs(turn))) return
      turn.lastMs = performance.now()
      const outcome = await this.unlessEnded(watch.look(turn.pid))
      if (outcome === undefined) return
      if (outcome.kind === 'sample') {
        turn.leastNs = outcome.sample.nextAfterNs
        turn.left--
      }
      if (outcome.kind === 'gone' || turn.left <= 0) turns.delete(turn.pid)
      yield outcome
    }
  }

  #dueMs({ lastMs, leastNs }: { readonly lastMs: number; readonly leastNs: number }): number {
    return this.#paused ? Infinity : lastMs + Math.max(this.#intervalNs, leastNs) / 1e6
  }

  /** Waits, following changes of the time meanwhile. False when the pace has ended. */
  async #until(dueMs: () => number): Promise<boolean> {
    for (;;) {
      const waitMs = dueMs() - performance.now()
      if (this.ended) return false
      if (waitMs <= 0) return true
      await this.#changeOr(Math.min(waitMs, 0x7fff_ffff))
    }
  }

  #changeOr(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer)
        this.#changed = undefined
        resolve()
      }
      const timer = setTimeout(done, ms)
      this.#changed = done
    })
  }

  /** What comes of the work, or undefined if the pace ends before; then it goes on unheard. */
  unlessEnded<T>(work: Promise<T>): Promise<T | undefined> {
    const { signal } = this.#end
    return new Promise((resolve, reject) => {
      const end = (): void => resolve(undefined)
      if (signal.aborted) end()
      signal.addEventListener('abort', end, { once: true })
      void work.then(resolve, reject).finally(() => signal.removeEventListener('abort', end))
    })
  }
}
