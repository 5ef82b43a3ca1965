/** Processes for the command line to be tried on. */
import assert from 'node:assert/strict'
import { type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { sleep } from './cli.ts'
import { checkoutRoot, guestsUnavailable } from './guest-build.ts'
import { leftBehind, readTaskState, type TaskState } from './task-state.ts'

/** For `test(name, { skip })`: why there is no target here; false if there is. */
export const skipTargets = guestsUnavailable()

export interface TargetOptions {
  readonly mib?: number
  readonly threads?: number
  readonly uid?: number
  /** Words before it, such as `setpriv …`: they must exec it. */
  readonly before?: readonly string[]
}

/** tests/fixtures/target.c, running. `await using` ends it. */
export class Target implements AsyncDisposable {
  readonly pid: number
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #waiting: { readonly verb: string; readonly answer: (line: string) => void }[] = []
  readonly #threads: number
  #before: TaskState | undefined

  private constructor({ mib = 8, threads = 2, uid, before = [] }: TargetOptions) {
    const [program, ...words] = [...before, buildFixture('target'), String(mib), String(threads)]
    this.#child = spawn(program!, words, { stdio: ['pipe', 'pipe', 'inherit'], cwd: '/', ...(uid !== undefined && { uid, gid: uid }) })
    assert.ok(this.#child.pid !== undefined, `${program} does not start`)
    this.pid = this.#child.pid
    this.#threads = threads
    this.#child.stdin.on('error', () => undefined)
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      const at = this.#waiting.findIndex(({ verb }) => line.startsWith(verb))
      this.#waiting.splice(at, at < 0 ? 0 : 1)[0]?.answer(line)
    })
  }

  static async start(options: TargetOptions = {}): Promise<Target> {
    const target = new Target(options)
    await target.hear('ready')
    await target.beat()
    target.remember()
    return target
  }

  /** What it is now is what {@link assertUnharmed} will expect. */
  remember(): void {
    this.#before = readTaskState(this.pid)
  }

  get ended(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null
  }

  say(line: string): void {
    this.#child.stdin.write(`${line}\n`)
  }

  hear(verb: string, withinMs = 30_000): Promise<string> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`the target did not say "${verb}" within ${withinMs} ms`)), withinMs)
      this.#waiting.push({ verb, answer: (line) => (clearTimeout(timer), resolve(line)) })
    })
  }

  async ask(line: string): Promise<string> {
    const answer = this.hear(line.split(' ', 1)[0]!)
    this.say(line)
    return await answer
  }

  async beat(): Promise<{ readonly writes: number; readonly interrupted: number }> {
    const [, writes, interrupted] = (await this.ask('beat')).split(' ')
    return { writes: Number(writes), interrupted: Number(interrupted) }
  }

  /** It runs, nobody traces it, and it has the fds, mappings, children and signal masks it had. */
  async assertUnharmed(): Promise<void> {
    assert.ok(!this.ended, `the target has ended: ${this.#child.exitCode ?? this.#child.signalCode}`)
    let left: string[] = []
    // A tool that has just been killed is still being taken apart by the kernel, and with it what it held.
    for (let wait = 1; wait < 2_000; wait *= 2) {
      const now = readTaskState(this.pid)
      left = [...leftBehind(this.#before!, now), ...now.armedMappings.map((line) => `armed ${line}`)]
      if (left.length === 0) break
      await sleep(wait)
    }
    assert.deepEqual(left, [])
    const first = await this.beat()
    assert.equal(first.interrupted, 0, 'the target saw an EINTR')
    // On a busy machine its writers may not get their turn for a while.
    for (let wait = 1; this.#threads > 0 && (await this.beat()).writes <= first.writes; wait *= 2) {
      assert.ok(wait < 2_000, 'the target does not write any more')
      await sleep(wait)
    }
  }

  async exit(): Promise<number | string | null> {
    if (!this.ended) await once(this.#child, 'exit')
    return this.#child.exitCode ?? this.#child.signalCode
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.ended) return
    const gone = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await gone
  }
}

/** The compiled fixture, made anew when its source is younger. Test files may do so at once, each under a name of its own. */
export function buildFixture(name: string): string {
  const source = join(checkoutRoot(), 'tests/fixtures', `${name}.c`)
  const program = join(checkoutRoot(), 'build/fixtures', name)
  if (existsSync(program) && statSync(program).mtimeMs > statSync(source).mtimeMs) return program
  mkdirSync(join(checkoutRoot(), 'build/fixtures'), { recursive: true })
  const draft = `${program}.${process.pid}`
  const { status, stderr } = spawnSync('cc', ['-std=gnu11', '-O2', '-pthread', '-Wall', '-Wextra', '-o', draft, source], { encoding: 'utf8' })
  assert.equal(status, 0, stderr)
  renameSync(draft, program)
  return program
}

/** Ends at the end of the scope. */
export class Bystander implements AsyncDisposable {
  readonly pid: number
  readonly #child

  constructor(program: string, args: readonly string[], options: { readonly uid?: number; readonly cwd?: string } = {}) {
    this.#child = spawn(program, args, { stdio: 'ignore', cwd: options.cwd, ...(options.uid !== undefined && { uid: options.uid, gid: options.uid }) })
    assert.ok(this.#child.pid !== undefined, `${program} does not start`)
    this.pid = this.#child.pid
  }

  get ended(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.ended) return
    const gone = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await gone
  }
}

export function tracerPidOf(pid: number): number {
  return Number(/^TracerPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
}

export function stateOf(pid: number): string {
  return /^State:\s*(\S)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '?'
}

/**
 * A 32-bit program without a compiler for it: one segment with
 *   mov eax, 29 (pause); int 0x80; jmp back
 */
export function writePause32(path: string): void {
  const code = Buffer.from('b81d000000cd80ebf7', 'hex')
  const base = 0x0804_8000
  const headers = Buffer.alloc(84)
  Buffer.from('7f454c46010101', 'hex').copy(headers) // ELFCLASS32, little-endian
  headers.writeUInt16LE(2, 16) // ET_EXEC
  headers.writeUInt16LE(3, 18) // EM_386
  headers.writeUInt32LE(1, 20)
  headers.writeUInt32LE(base + 84, 24) // entry
  headers.writeUInt32LE(52, 28) // program headers lie here
  headers.writeUInt16LE(52, 40)
  headers.writeUInt16LE(32, 42)
  headers.writeUInt16LE(1, 44)
  const total = headers.length + code.length
  const segment = [1, 0, base, base, total, total, 5, 0x1000] // PT_LOAD, readable and executable
  segment.forEach((word, i) => headers.writeUInt32LE(word, 52 + 4 * i))
  writeFileSync(path, Buffer.concat([headers, code]))
  chmodSync(path, 0o755)
}

export function hasProgram(name: string): boolean {
  return (process.env['PATH'] ?? '').split(':').some((folder) => existsSync(join(folder, name)))
}

export const skipWithout = (name: string): string | false => (hasProgram(name) ? false : `${name} is not installed`)
