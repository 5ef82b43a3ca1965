import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { buildGuest, GuestUnavailable } from './guest-build.ts'
import type { GuestInfos, JsonObject } from './guest-info.ts'
import { readTaskState } from './task-state.ts'

export { checkoutRoot, GuestUnavailable, guestsUnavailable } from './guest-build.ts'
export type * from './guest-info.ts'

/** What a guest says of itself at its end. */
export type Verdict =
  | { readonly kind: 'ok'; readonly report: JsonObject }
  | { readonly kind: 'failed'; readonly problem: string; readonly report: JsonObject }
  | { readonly kind: 'died'; readonly code: number | null; readonly signal: string | null; readonly stderr: string }
  /** Killed, after it did not end in time. `states` are those of its threads, as in /proc: T is stopped, t traced. */
  | { readonly kind: 'hung'; readonly afterMs: number; readonly states: string }

export interface GuestOptions {
  /** How long it may take to be ready: a victim of many GiB has to fill them first. */
  readonly readyWithinMs?: number
  readonly env?: Readonly<Record<string, string>>
  /** Words before it, such as those that put it into a control group: they must exec it. */
  readonly before?: readonly string[]
}

type Child = ChildProcessByStdio<Writable, Readable, Readable>

/** A running guest program. `await using guest = await startGuest(…)` kills it and removes its folder at the end. */
export class Guest<Info> {
  readonly pid: number
  readonly info: Info
  /** The guest's current folder: a fresh one, removed with it. */
  readonly folder: string
  readonly #process: GuestProcess

  constructor(process: GuestProcess, info: Info) {
    this.pid = process.pid
    this.info = info
    this.folder = process.folder
    this.#process = process
  }

  /** Writes a line and waits for the answer, which repeats the line's first word as `reply`. */
  async ask<Answer extends JsonObject>(line: string, withinMs = 30_000): Promise<Answer> {
    const verb = line.split(' ', 1)[0]
    this.#process.write(line)
    return (await this.#process.line((json) => json['reply'] === verb, withinMs, `the answer to "${line}"`)) as Answer
  }

  /** Closes the guest's stdin, so that it checks itself, and waits for what it says. */
  async finish(withinMs = 30_000): Promise<Verdict> {
    return await this.#process.finish(withinMs)
  }

  kill(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal)
  }

  /** Whether the process has ended and been waited for by us. */
  get ended(): boolean {
    return this.#process.ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.dispose()
  }
}

/** Compiles the guest if need be, starts it and waits until it is ready. Throws GuestUnavailable if it cannot run here. */
export async function startGuest<Name extends keyof GuestInfos>(
  name: Name,
  args: readonly string[] = [],
  options: GuestOptions = {},
): Promise<Guest<GuestInfos[Name]>> {
  const program = await buildGuest(name)
  const guest = new GuestProcess(program, args, options)
  try {
    const first = await guest.line((json) => json['ready'] === true || 'skipped' in json, options.readyWithinMs ?? 30_000, 'ready')
    if (typeof first['skipped'] === 'string') throw new GuestUnavailable(first['skipped'])
    // The guest's source and guest-info.ts are changed together; what a guest prints is not checked again.
    return new Guest(guest, first as unknown as GuestInfos[Name])
  } catch (error) {
    await guest.dispose()
    throw error
  }
}

/** As startGuest; where the guest cannot run here it skips the test, with the reason, and gives undefined. */
export async function startGuestOrSkip<Name extends keyof GuestInfos>(
  test: { skip(reason: string): void },
  name: Name,
  args: readonly string[] = [],
  options: GuestOptions = {},
): Promise<Guest<GuestInfos[Name]> | undefined> {
  try {
    return await startGuest(name, args, options)
  } catch (error) {
    if (!(error instanceof GuestUnavailable)) throw error
    test.skip(error.reason)
    return undefined
  }
}

interface Waiter {
  readonly wants: (json: JsonObject) => boolean
  readonly resolve: (json: JsonObject) => void
  readonly reject: (error: Error) => void
}

class GuestProcess {
  readonly folder = mkdtempSync(join(tmpdir(), 'tidemark-guest-'))
  readonly pid: number
  readonly #name: string
  readonly #child: Child
  readonly #exit: Promise<unknown>
  readonly #unread: JsonObject[] = []
  readonly #waiters = new Set<Waiter>()
  #last: JsonObject | undefined
  #stderr = ''

  constructor(program: string, args: readonly string[], { before = [], env }: GuestOptions) {
    this.#name = [program.split('/').at(-1), ...args].join(' ')
    const [first, ...rest] = [...before, program, ...args]
    this.#child = spawn(first!, rest, { cwd: this.folder, stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...env } })
    if (this.#child.pid === undefined) throw new Error(`${program} does not start`)
    this.pid = this.#child.pid
    // 'close' and not 'exit': only then the last line has been read. A child of the guest that
    // holds its stdout open would delay it, so no guest lets one live on.
    this.#exit = once(this.#child, 'close').then(() => this.#lose())
    this.#child.stdin.on('error', () => undefined)
    this.#child.stderr.on('data', (data: Buffer) => (this.#stderr += data.toString()))
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.#take(line))
  }

  get ended(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null
  }

  write(line: string): void {
    this.#child.stdin.write(`${line}\n`)
  }

  async line(wants: (json: JsonObject) => boolean, withinMs: number, what: string): Promise<JsonObject> {
    const index = this.#unread.findIndex(wants)
    const found = index < 0 ? undefined : this.#unread.splice(index, 1)[0]
    if (found !== undefined) return found
    if (this.ended) throw this.#failure()
    return await new Promise((resolve, reject) => {
      const late = () => waiter.reject(new Error(`${this.#name}: no ${what} within ${withinMs} ms`))
      const timer = setTimeout(late, withinMs)
      const settle = () => {
        clearTimeout(timer)
        this.#waiters.delete(waiter)
      }
      const waiter: Waiter = {
        wants,
        resolve: (json) => (settle(), resolve(json)),
        reject: (error) => (settle(), reject(error)),
      }
      this.#waiters.add(waiter)
    })
  }

  async finish(withinMs: number): Promise<Verdict> {
    this.#child.stdin.end()
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<'late'>((resolve) => (timer = setTimeout(resolve, withinMs, 'late')))
    const first = await Promise.race([this.#exit, late])
    clearTimeout(timer)
    if (first === 'late') {
      const states = this.ended ? '' : readTaskState(this.pid).threads.map((thread) => thread.state).join('')
      await this.#kill()
      return { kind: 'hung', afterMs: withinMs, states }
    }
    const report = this.#last
    const { exitCode: code, signalCode: signal } = this.#child
    if (report === undefined || (report['ok'] === true) !== (code === 0)) return { kind: 'died', code, signal, stderr: this.#stderr }
    return report['ok'] === true ? { kind: 'ok', report } : { kind: 'failed', problem: String(report['problem']), report }
  }

  async dispose(): Promise<void> {
    await this.#kill()
    rmSync(this.folder, { recursive: true, force: true })
  }

  async #kill(): Promise<void> {
    if (!this.ended) this.#child.kill('SIGKILL')
    this.#child.stdin.destroy()
    await this.#exit
  }

  #take(text: string): void {
    let json: JsonObject
    try {
      json = JSON.parse(text) as JsonObject
    } catch {
      this.#stderr += `not JSON on stdout: ${text}\n`
      return
    }
    if ('ok' in json) {
      this.#last = json
      return
    }
    const waiter = [...this.#waiters].find((candidate) => candidate.wants(json))
    if (waiter === undefined) this.#unread.push(json)
    else waiter.resolve(json)
  }

  #lose(): void {
    for (const waiter of [...this.#waiters]) waiter.reject(this.#failure())
  }

  #failure(): Error {
    const how = this.#child.signalCode ?? `exit status ${this.#child.exitCode}`
    const said = this.#last === undefined ? this.#stderr.trim() : JSON.stringify(this.#last)
    return new Error(`${this.#name} ended (${how}): ${said}`)
  }
}
