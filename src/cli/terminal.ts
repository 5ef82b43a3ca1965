import { writeSync } from 'node:fs'
import { emitKeypressEvents } from 'node:readline'
import type { ReadStream, WriteStream } from 'node:tty'
import { cellWidth } from './text-width.ts'
import type { Key } from './top-keys.ts'

/** xterm's control sequences (invisible-island.net/xterm/ctlseqs): alternate screen, cursor, wrapping at the edge. */
const ENTER = '\x1b[?1049h\x1b[?25l\x1b[?7l'
const LEAVE = '\x1b[?7h\x1b[?25h\x1b[?1049l'
const CLEAR = '\x1b[H\x1b[2J'
const COLOURS = /\x1b\[[\d;]*m/g
/** A terminal that does not tell its size. */
const COLUMNS = 80
const ROWS = 24
/** Long enough for our own stop to have happened, where it does: a process group without a shell above it is not stopped. */
const STOPPED_MS = 100

type Output = WriteStream & { readonly fd: number }

export interface TerminalEvents {
  readonly onKey: (key: Key) => void
  /** It has to be drawn anew: another size, or we were stopped. */
  readonly onLost: () => void
  /** The keyboard is gone. */
  readonly onEnd: () => void
}

/**
 * The whole screen of a terminal, for as long as it lives. Given back by disposing of it, and whatever else happens
 * by the end of the process: nothing here needs the event loop for that.
 */
export class Terminal implements Disposable {
  readonly #input: ReadStream
  readonly #output: Output
  readonly #events: TerminalEvents
  #shown: readonly string[] = []
  #entered = false
  #stopping: NodeJS.Timeout | undefined
  readonly #leave = (): void => this.#giveBack()
  readonly #resize = (): void => this.redraw()
  readonly #continued = (): void => this.#take()
  readonly #stop = (): void => this.suspend()
  readonly #key = (_: string | undefined, key: Key): void => this.#events.onKey(key)
  readonly #end = (): void => this.#events.onEnd()

  constructor(input: ReadStream, output: Output, events: TerminalEvents) {
    this.#input = input
    this.#output = output
    this.#events = events
    process.on('exit', this.#leave).on('SIGCONT', this.#continued).on('SIGTSTP', this.#stop)
    output.on('resize', this.#resize)
    if (input.isTTY) {
      emitKeypressEvents(input)
      input.on('keypress', this.#key).on('end', this.#end).on('error', this.#end)
    }
  }

  /** Takes the screen; the first `onLost` comes from here. */
  begin(): void {
    this.#take()
  }

  get size(): { readonly columns: number; readonly rows: number } {
    return { columns: this.#output.columns || COLUMNS, rows: this.#output.rows || ROWS }
  }

  /** Shows the lines, the first at the top. Writes once, and only those that have changed. */
  draw(lines: readonly string[]): void {
    if (!this.#entered) return
    const { columns } = this.size
    let text = ''
    for (let row = 0; row < Math.max(lines.length, this.#shown.length); row++) {
      const line = lines[row] ?? ''
      if (line === this.#shown[row]) continue
      // After a full line the cursor still stands on its last cell, which erasing would take.
      const erase = cellWidth(line.replace(COLOURS, '')) < columns ? '\x1b[K' : ''
      text += `\x1b[${row + 1};1H${line}${erase}`
    }
    this.#shown = lines
    if (text !== '') this.#output.write(text)
  }

  /** Gives the screen back and stops as Ctrl-Z does; comes back when we go on. */
  suspend(): void {
    this.#giveBack()
    process.off('SIGTSTP', this.#stop)
    process.kill(0, 'SIGTSTP')
    this.#stopping = setTimeout(() => {
      process.on('SIGTSTP', this.#stop)
      if (!this.#entered) this.#take()
    }, STOPPED_MS)
  }

  #take(): void {
    // Off first: a shell may have set the terminal otherwise, and Node does not set what it believes is set.
    if (this.#input.isTTY) this.#input.setRawMode(false).setRawMode(true).resume()
    this.#entered = true
    this.#output.write(ENTER)
    this.redraw()
  }

  /** Clears the screen and asks for everything again. */
  redraw(): void {
    if (!this.#entered) return
    this.#shown = []
    this.#output.write(CLEAR)
    this.#events.onLost()
  }

  #giveBack(): void {
    if (!this.#entered) return
    this.#entered = false
    try {
      if (this.#input.isTTY) this.#input.setRawMode(false)
      writeSync(this.#output.fd, LEAVE)
    } catch {
      // The terminal itself is gone.
    }
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#stopping)
    this.#giveBack()
    process.off('exit', this.#leave).off('SIGCONT', this.#continued).off('SIGTSTP', this.#stop)
    this.#output.off('resize', this.#resize)
    this.#input.off('keypress', this.#key).off('end', this.#end).off('error', this.#end).pause()
  }
}
