import { execFile, spawn, type ChildProcessByStdio } from 'node:child_process'
import { accessSync, constants, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import type { TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

/** Where Debian keeps servers that it leaves out of an ordinary user's PATH. */
const FOLDERS_BESIDE_PATH = ['/usr/sbin', '/usr/local/sbin', ...postgresFolders()]

function postgresFolders(): string[] {
  try {
    return readdirSync('/usr/lib/postgresql').toSorted((a, b) => Number(b) - Number(a)).map((version) => `/usr/lib/postgresql/${version}/bin`)
  } catch {
    return []
  }
}

/** The program's file, or undefined if it is not installed. The server's own folder comes first: PATH may hold another version's tools. */
export function findProgram(name: string, first: readonly string[] = []): string | undefined {
  const folders = [...first, ...(process.env['PATH'] ?? '').split(delimiter), ...FOLDERS_BESIDE_PATH]
  return folders.map((folder) => join(folder, name)).find((file) => {
    try {
      accessSync(file, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/** As findProgram, for tests that asked {@link programMissing} before. */
export function requireProgram(name: string, first: readonly string[] = []): string {
  const file = findProgram(name, first)
  if (file === undefined) throw new Error(`${name} is not installed`)
  return file
}

/** The reason to skip a test that needs these programs, for node:test's `skip`; undefined if all are installed. */
export function programMissing(...names: readonly string[]): string | undefined {
  const missing = names.filter((name) => findProgram(name) === undefined)
  return missing.length === 0 ? undefined : `not installed here: ${missing.join(', ')}`
}

/** A fresh folder that goes when the test ends. */
export function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-system-'))
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }))
  return folder
}

/** A loopback port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer()
  return await new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const bound = server.address()
      server.close(() => (bound !== null && typeof bound === 'object' ? resolve(bound.port) : reject(new Error('no port'))))
    })
  })
}

/** Waits until something holds of the world outside, which has no event for it. */
export async function until(holds: () => boolean | Promise<boolean>, what: string, withinMs = 20_000): Promise<void> {
  const end = performance.now() + withinMs
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${what}`)
    await delay(10)
  }
}

export interface Finished {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program to its end. A code other than zero is a result, not an error. */
export function run(program: string, args: readonly string[], { input = '', withinMs = 60_000 } = {}): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = execFile(program, args, { maxBuffer: 256 << 20, timeout: withinMs, killSignal: 'SIGKILL' }, (error, stdout, stderr) => {
      if (error !== null && typeof error.code !== 'number') reject(new Error(`${program} ${args.join(' ')}: ${error.message}\n${stderr}`))
      else resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr })
    })
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(input)
  })
}

/** The command line of this checkout, as another process. */
export function tidemark(args: readonly string[]): Promise<Finished> {
  const main = fileURLToPath(new URL('cli/main.js', import.meta.resolve('tidemark')))
  return run(process.execPath, [main, ...args])
}

type Child = ChildProcessByStdio<Writable, Readable, Readable>

const alive = new Set<Child>()
// The after hooks do not run when the test file itself is broken off by an exception outside of a test.
process.once('exit', () => { for (const child of alive) child.kill('SIGKILL') })

/** A program that we started and that runs until the test ends. */
export class RunningProgram {
  readonly name: string
  readonly pid: number
  readonly #child: Child
  readonly #closed: Promise<void>
  #stdout = ''
  #stderr = ''

  constructor(name: string, child: Child) {
    if (child.pid === undefined) throw new Error(`${name} does not start`)
    this.name = name
    this.pid = child.pid
    this.#child = child
    alive.add(child)
    child.stdin.on('error', () => undefined)
    child.stdout.on('data', (data: Buffer) => (this.#stdout += data.toString()))
    child.stderr.on('data', (data: Buffer) => (this.#stderr += data.toString()))
    this.#closed = new Promise((resolve) => child.once('close', () => { alive.delete(child); resolve() }))
  }

  get stdout(): string {
    return this.#stdout
  }

  get stderr(): string {
    return this.#stderr
  }

  get ended(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null
  }

  write(text: string): void {
    this.#child.stdin.write(text)
  }

  /** Waits until its standard output holds the text. */
  async says(text: string, withinMs = 20_000): Promise<void> {
    await until(() => {
      if (this.#stdout.includes(text)) return true
      if (this.ended) throw new Error(`${this.name} ended without having said "${text}": ${this.#describeEnd()}`)
      return false
    }, `${this.name} says "${text}"; it said:\n${this.#stdout}\n${this.#stderr}`, withinMs)
  }

  /** Closes its standard input and waits for its end. Returns its exit code. */
  async finish(withinMs = 30_000): Promise<number | null> {
    this.#child.stdin.end()
    await until(() => this.ended, `the end of ${this.name}`, withinMs)
    await this.#closed
    return this.#child.exitCode
  }

  /** Asks it to end, and makes it. */
  async stop(signal: NodeJS.Signals, withinMs = 10_000): Promise<void> {
    if (!this.ended) {
      this.#child.kill(signal)
      // A test may have left it job-stopped; then it could not hear the signal.
      this.#child.kill('SIGCONT')
      await until(() => this.ended, `the end of ${this.name}`, withinMs).catch(() => this.#child.kill('SIGKILL'))
    }
    this.#child.stdin.destroy()
    await this.#closed
  }

  #describeEnd(): string {
    return `${this.#child.signalCode ?? `exit code ${this.#child.exitCode}`}\n${this.#stderr}`
  }
}

export interface StartOptions {
  readonly folder?: string
  /** What ends it decently. A program without children of its own needs no more than SIGKILL, the default. */
  readonly endBy?: NodeJS.Signals
}

/** Starts a program, which is ended when the test does, however that ends. */
export function startProgram(t: TestContext, program: string, args: readonly string[], { folder, endBy = 'SIGKILL' }: StartOptions = {}): RunningProgram {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], ...(folder !== undefined && { cwd: folder }) })
  const running = new RunningProgram(program, child)
  t.after(() => running.stop(endBy))
  return running
}

/** The letter of /proc/PID/stat, for every thread. */
export function threadStates(pid: number): string[] {
  return readdirSync(`/proc/${pid}/task`).map((tid) => /.*\) (\S)/s.exec(readFileSync(`/proc/${pid}/task/${tid}/stat`, 'utf8'))?.[1] ?? '?')
}

export function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter((word) => word !== '').map(Number)
}

/** Compiles a C program that a test carries in itself. */
export async function compileProgram(t: TestContext, name: string, source: string): Promise<string> {
  const program = join(temporaryFolder(t), name)
  const { code, stderr } = await run('cc', ['-std=gnu11', '-g', '-O1', '-pthread', '-Wall', '-x', 'c', '-o', program, '-'], { input: source })
  if (code !== 0) throw new Error(`cc cannot compile ${name}:\n${stderr}`)
  return program
}
