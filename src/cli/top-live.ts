import type { WatchOutcome } from '../index.ts'
import type { Pace } from './top-pace.ts'
import { painter } from './table.ts'
import { Terminal } from './terminal.ts'
import { pressed } from './top-actions.ts'
import { actionOf, type Key } from './top-keys.ts'
import { frameOf, type Frame } from './top-screen.ts'
import { initialState, seen, type TopState } from './top-state.ts'

export interface LiveOptions {
  readonly pids: readonly number[]
  readonly intervalNs: number
  readonly pace: Pace
  /** Stands in the last line until a key is pressed. */
  readonly message: string
}

/** The live view on the terminal: takes outcomes and keys, draws what becomes of them. Disposing of it gives the terminal back. */
export class LiveView implements Disposable {
  readonly #pace: Pace
  readonly #terminal: Terminal
  readonly #paint = painter(process.stdout)
  #state: TopState
  #frame: Frame | undefined

  constructor({ pids, intervalNs, pace, message }: LiveOptions) {
    this.#pace = pace
    this.#state = initialState(pids, intervalNs, process.stdin.isTTY ? message : message || 'no keys here: standard input is no terminal; Ctrl-C quits')
    this.#terminal = new Terminal(process.stdin, process.stdout, { onKey: (key) => this.#press(key), onLost: () => this.#draw(), onEnd: () => pace.end() })
    this.#terminal.begin()
  }

  show(outcome: WatchOutcome): void {
    this.#state = seen(this.#state, outcome)
    this.#draw()
  }

  /** It is on the screen already. */
  tell(): void {}

  #press(key: Key): void {
    const action = actionOf(key)
    if (action === undefined) return
    if (action.kind === 'quit') return this.#pace.end()
    if (action.kind === 'suspend') return this.#terminal.suspend()
    const { body, bodyRows } = this.#frame ?? frameOf(this.#state, this.#terminal.size, this.#paint)
    this.#state = pressed({ ...this.#state, message: '' }, action, body, bodyRows)
    this.#pace.set(this.#state)
    if (action.kind === 'redraw') this.#terminal.redraw()
    else this.#draw()
  }

  #draw(): void {
    this.#frame = frameOf(this.#state, this.#terminal.size, this.#paint)
    const { scroll, helpScroll, lines } = this.#frame
    this.#state = { ...this.#state, scroll, helpScroll }
    this.#terminal.draw(lines)
  }

  [Symbol.dispose](): void {
    this.#terminal[Symbol.dispose]()
  }
}
