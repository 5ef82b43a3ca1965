import { execFile, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Thrown where a guest cannot run here for a reason that is nobody's fault: skip the test with `reason`. */
export class GuestUnavailable extends Error {
  override readonly name = 'GuestUnavailable'
  readonly reason: string

  constructor(reason: string) {
    super(reason)
    this.reason = reason
  }
}

const COMPILER = 'cc'
const FLAGS = ['-std=gnu11', '-O2', '-g', '-pthread', '-Wall', '-Wextra']
const building = new Map<string, Promise<string>>()

/** The reason why no guest can be built here, for `test(name, { skip: guestsUnavailable() })`; false if they can. */
export function guestsUnavailable(): string | false {
  if (process.platform !== 'linux') return 'the guests are Linux programs'
  if (process.arch !== 'x64' && process.arch !== 'arm64') return `the guests do not know the processor ${process.arch}`
  const found = spawnSync(COMPILER, ['--version'], { stdio: 'ignore' })
  return found.status === 0 ? false : `no C compiler: "${COMPILER}" does not run`
}

/** The checkout's root, wherever the compiled tests lie. */
export function checkoutRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'tests/guests/guest.h'))) {
    const parent = dirname(folder)
    if (parent === folder) throw new Error(`tests/guests is in no folder above ${fileURLToPath(import.meta.url)}`)
    folder = parent
  }
  return folder
}

/**
 * The program of a guest, compiled if it is older than any source. Test files run at once in
 * several processes, so each compiles under a name of its own and renames: the last one wins, and
 * nobody ever sees half a program or writes into one that runs.
 */
export function buildGuest(name: string): Promise<string> {
  const known = building.get(name)
  if (known !== undefined) return known
  const promise = compileGuest(name)
  building.set(name, promise)
  return promise
}

async function compileGuest(name: string): Promise<string> {
  const root = checkoutRoot()
  const sources = join(root, 'tests/guests')
  const source = join(sources, `${name}.c`)
  if (!existsSync(source)) throw new Error(`there is no guest ${name}: ${source}`)
  const program = join(root, 'build/guests', name)
  if (existsSync(program) && statSync(program).mtimeMs > newestSourceMs(sources, source)) return program
  const unavailable = guestsUnavailable()
  if (unavailable !== false) throw new GuestUnavailable(unavailable)
  mkdirSync(dirname(program), { recursive: true })
  const draft = `${program}.${process.pid}-${Math.random().toString(36).slice(2)}`
  try {
    await run([...FLAGS, '-o', draft, source])
    renameSync(draft, program)
  } finally {
    rmSync(draft, { force: true })
  }
  return program
}

function newestSourceMs(folder: string, source: string): number {
  const headers = readdirSync(folder).filter((file) => file.endsWith('.h')).map((file) => join(folder, file))
  return Math.max(...[source, ...headers].map((file) => statSync(file).mtimeMs))
}

function run(args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile(COMPILER, args, (error, _stdout, stderr) => {
      if (error === null) resolve()
      else reject(new Error(`${COMPILER} ${args.join(' ')} failed:\n${stderr}`))
    })
  })
}
