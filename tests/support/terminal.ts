/** A terminal for the command line to be tried on: a real one of the kernel's, by script(1), and the screen that it would show. */
import assert from 'node:assert/strict'
import { type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { until } from './programs.ts'

/** What the control sequences that we use make of a screen. Any other is an error of the test. */
export class Screen {
  alternate = false
  cursorShown = true
  wraps = true
  /** Control sequences and text, all of it. */
  text = ''
  #rows: string[] = []
  #row = 0
  #rest = ''

  write(piece: string): void {
    this.text += piece
    let rest = this.#rest + piece
    this.#rest = ''
    while (rest !== '') {
      const match = /^(?:\x1b\[([?\d;]*)([A-Za-z])|([\r\n\x07\x08])|([^\x1b\r\n\x07\x08]+))/.exec(rest)
      if (match === null) {
        assert.match(rest, /^\x1b(\[[?\d;]*)?$/, 'a sequence that a terminal knows')
        this.#rest = rest
        return
      }
      rest = rest.slice(match[0].length)
      if (match[4] !== undefined) this.#rows[this.#row] = (this.#rows[this.#row] ?? '') + match[4]
      else if (match[3] === '\n') this.#row++
      else if (match[2] !== undefined) this.#control(match[1]!, match[2])
    }
  }

  /** Only whole lines are ever written, from their first cell. */
  #control(parameters: string, letter: string): void {
    const set = letter === 'h'
    if (letter === 'm' || letter === 'K') return
    if (letter === 'H') {
      this.#row = Number(parameters.split(';')[0] || 1) - 1
      if (parameters !== '') this.#rows[this.#row] = ''
    } else if (letter === 'J') this.#rows = []
    else if (parameters === '?1049') {
      this.alternate = set
      this.#rows = []
      this.#row = 0
    } else if (parameters === '?25') this.cursorShown = set
    else if (parameters === '?7') this.wraps = set
    else assert.equal(parameters, '?2004', `\\x1b[${parameters}${letter}`) // A shell's.
  }

  get lines(): readonly string[] {
    return Array.from(this.#rows, (row) => row ?? '')
  }

  get shown(): string {
    return this.lines.join('\n')
  }

  assertRestored(): void {
    assert.deepEqual({ alternate: this.alternate, cursorShown: this.cursorShown, wraps: this.wraps }, { alternate: false, cursorShown: true, wraps: true })
  }
}

/** A shell command in a terminal of its own. */
export class TerminalSession implements AsyncDisposable {
  readonly screen = new Screen()
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #folder = mkdtempSync(join(tmpdir(), 'tidemark-terminal-'))
  readonly #closed: Promise<unknown>

  private constructor(command: string, { rows, columns }: { readonly rows: number; readonly columns: number }, env: Readonly<Record<string, string>>) {
    const prepared = `stty rows ${rows} cols ${columns}; tty > ${this.#folder}/tty; echo $$ > ${this.#folder}/pid; ${command}`
    this.#child = spawn('script', ['-qefc', prepared, '/dev/null'], {
      stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, TERM: 'xterm', NODE_OPTIONS: '', NO_COLOR: '1', FORCE_COLOR: undefined, SHELL: '/bin/sh', ...env },
    })
    this.#child.stdin.on('error', () => undefined)
    this.#child.stdout.setEncoding('utf8').on('data', (piece: string) => this.screen.write(piece))
    this.#closed = once(this.#child, 'close')
  }

  static async start(command: string, { rows = 24, columns = 80, env = {} }: { readonly rows?: number; readonly columns?: number; readonly env?: Readonly<Record<string, string>> } = {}): Promise<TerminalSession> {
    const session = new TerminalSession(command, { rows, columns }, env)
    await until(() => existsSync(join(session.#folder, 'pid')) && readFileSync(join(session.#folder, 'pid'), 'utf8') !== '', 'a terminal')
    return session
  }

  /** Of the shell, or of the program if the command was `exec …`. */
  get pid(): number {
    return Number(readFileSync(join(this.#folder, 'pid'), 'utf8'))
  }

  type(keys: string): void {
    this.#child.stdin.write(keys)
  }

  /** As a window that is dragged: the kernel tells the program. */
  resize(rows: number, columns: number): void {
    const tty = readFileSync(join(this.#folder, 'tty'), 'utf8').trim()
    assert.equal(spawnSync('stty', ['-F', tty, 'rows', String(rows), 'cols', String(columns)]).status, 0)
  }

  async shows(what: RegExp): Promise<void> {
    await until(() => what.test(this.screen.shown), `${what} on the screen`).catch((error: unknown) => {
      throw new Error(`${String(error)}:\n${this.screen.shown}\n${JSON.stringify(this.screen.text.slice(-2000))}`)
    })
  }

  /** The code it ended with, once it does by itself. */
  async end(): Promise<number | null> {
    await until(() => this.#child.exitCode !== null || this.#child.signalCode !== null, 'the program ends')
    await this.#closed
    return this.#child.exitCode
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#closed
    rmSync(this.#folder, { recursive: true })
  }
}
