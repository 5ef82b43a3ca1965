/** The ways in which `top` ends by itself or is ended. */
import { constants } from 'node:os'
import { TidemarkError, type WatchOutcome } from '../index.ts'
import { printable } from './text-width.ts'
import type { Pace } from './top-pace.ts'

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const

/** Signals end the pace in good order, and a second one ends us at once; the exit code tells which it was, as a shell would. */
export class EndingSignals implements Disposable {
  readonly #pace: Pace
  #signal: NodeJS.Signals | undefined
  readonly #onSignal = (signal: NodeJS.Signals): void => {
    const code = 128 + constants.signals[signal]
    if (this.#signal !== undefined) process.exit(code)
    this.#signal = signal
    process.exitCode = code
    this.#pace.end()
  }

  constructor(pace: Pace) {
    this.#pace = pace
    for (const signal of SIGNALS) process.on(signal, this.#onSignal)
  }

  [Symbol.dispose](): void {
    for (const signal of SIGNALS) process.off(signal, this.#onSignal)
    // What a reader has not taken yet would keep us here until it does.
    if (this.#signal !== undefined && process.stdout.writableLength > 0) process.exit()
  }
}

/** Who was there and who is gone. */
export class Census {
  readonly #names: Map<number, string>
  readonly #gone = new Set<number>()
  #seen = false

  constructor(pids: readonly number[]) {
    this.#names = new Map(pids.map((pid) => [pid, '']))
  }

  /** What the outcome means to people who do not see it, if others are still to be seen. */
  count(outcome: WatchOutcome): string | undefined {
    switch (outcome.kind) {
      case 'sample':
        this.#names.set(outcome.sample.pid, outcome.sample.name)
        this.#seen = true
        return undefined
      case 'executed':
        this.#names.set(outcome.pid, outcome.name)
        return `${outcome.pid} executed ${printable(outcome.name)}; watched anew`
      case 'gone':
        this.#gone.add(outcome.pid)
        return this.#gone.size < this.#names.size ? `${this.#title(outcome.pid)} is gone` : undefined
    }
  }

  /** Why there is no more to see; undefined if there is. An error with code 'gone' if nothing was ever seen. */
  end(): string | undefined {
    if (this.#gone.size < this.#names.size) return undefined
    const all = [...this.#gone].map((pid) => this.#title(pid)).join(', ')
    const are = this.#gone.size === 1 ? 'is' : 'are'
    if (!this.#seen) throw new TidemarkError('gone', `${all} ${are} gone: there is nothing to watch`, { hint: 'ps shows what is running' })
    return `${all} ${are} gone: nothing is left to watch`
  }

  #title(pid: number): string {
    return `${pid} ${printable(this.#names.get(pid) ?? '')}`.trimEnd()
  }
}
