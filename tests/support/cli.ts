/** The command line as its users run it: a process of its own, its words, its exit code, what it leaves behind. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { checkoutRoot } from './guest-build.ts'

export const PROGRAM = join(checkoutRoot(), 'dist/cli/main.js')

export interface CliOptions {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly uid?: number
  /** Another copy of the program. */
  readonly program?: string
  /** Words before it, such as `prlimit --fsize=4096 --`. */
  readonly before?: readonly string[]
  /** A file descriptor, or a pipe (default) that is read, or one that the caller reads. */
  readonly stdout?: number | 'pipe' | 'unread'
  /** After this it is killed and counts as hung. */
  readonly withinMs?: number
}

export interface CliResult {
  /** 'hung' when it had to be killed. */
  readonly code: number | NodeJS.Signals | 'hung' | null
  readonly stdout: Buffer
  readonly stderr: string
}

export interface RunningCli {
  readonly pid: number
  readonly child: ChildProcess
  readonly done: Promise<CliResult>
}

export function startCli(args: readonly string[], options: CliOptions = {}): RunningCli {
  const [program, ...words] = [...(options.before ?? []), process.execPath, options.program ?? PROGRAM, ...args]
  const stdout = typeof options.stdout === 'number' ? options.stdout : 'pipe'
  const child = spawn(program!, words, {
    cwd: options.cwd, stdio: ['ignore', stdout, 'pipe'], env: { ...process.env, NODE_OPTIONS: '', ...options.env },
    ...(options.uid !== undefined && { uid: options.uid, gid: options.uid }),
  })
  assert.ok(child.pid !== undefined, `${program} does not start`)
  const out: Buffer[] = []
  let stderr = ''
  if (options.stdout !== 'unread') child.stdout?.on('data', (piece: Buffer) => out.push(piece))
  child.stderr!.on('data', (piece: Buffer) => { stderr += piece.toString() })
  let hung = false
  const timer = setTimeout(() => {
    hung = true
    child.kill('SIGKILL')
  }, options.withinMs ?? 60_000)
  // With an unread stdout 'close' never comes.
  const done = once(child, options.stdout === 'unread' ? 'exit' : 'close').then(() => {
    clearTimeout(timer)
    return { code: hung ? 'hung' as const : child.exitCode ?? child.signalCode, stdout: Buffer.concat(out), stderr }
  })
  return { pid: child.pid, child, done }
}

export function runCli(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  return startCli(args, options).done
}

/** A refusal as promised: its code, one line that begins with our name and says `what`, nothing on stdout. */
export function assertRefused(result: CliResult, code: number, what: RegExp): void {
  assertOneLine(result)
  assert.match(result.stderr, what)
  assert.equal(result.code, code, result.stderr)
  assert.equal(result.stdout.length, 0, 'a refusal prints nothing on stdout')
}

export function assertOneLine({ stderr, code }: CliResult): void {
  assert.match(stderr, /^tidemark: [^\n]+\n$/, `one line for people, with exit code ${code}`)
  assertNoCrash(stderr)
}

export function assertNoCrash(text: string): void {
  assert.doesNotMatch(text, /internal error|at file:\/\/|node:internal|Unhandled/)
}

/** A new folder, gone at the end of the scope. */
export class Scratch implements Disposable {
  readonly path: string

  constructor(parent = tmpdir()) {
    this.path = mkdtempSync(join(parent, 'tidemark-test-'))
  }

  file(name: string): string {
    return join(this.path, name)
  }

  /** Hidden ones too: a draft that was left behind would be one. */
  assertHolds(...names: readonly string[]): void {
    assert.deepEqual(readdirSync(this.path).toSorted(), names.toSorted())
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}

/** Whole numbers below `limit`, the same for the same seed. Print the seed. */
export function seeded(seed: number): (limit: number) => number {
  let state = seed >>> 0 || 1
  return (limit) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % limit
  }
}

/** A seed of this run, or the one in TIDEMARK_SEED to run it again. */
export function freshSeed(): number {
  const given = process.env['TIDEMARK_SEED']
  return given === undefined ? Date.now() & 0x7fff_ffff : Number(given)
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

export const isRoot = process.getuid?.() === 0
