import { tmpdir } from 'node:os'
import { parseArgs } from 'node:util'

export type PageKind = '4k' | 'thp'

export interface BenchOptions {
  readonly sizesMib: readonly number[]
  readonly pageKinds: readonly PageKind[]
  readonly runs: number
  readonly writesPerSecond: number
  readonly directory: string
  readonly jsonFile: string | undefined
  /** Names of contenders; `undefined` is all. */
  readonly only: readonly string[] | undefined
  /** How long to wait for others to leave the processors alone before a run. */
  readonly quietWaitMs: number
  /** How often a run is made anew that others disturbed. */
  readonly retries: number
}

export const USAGE = `Usage: npm run bench -- [options]             how long dumps make a program stand still
       npm run bench -- tracking [--quick]   what following its writes costs it, and us
       npm run bench -- forecast [--quick]   what predict says against what dump then does
       npm run bench -- pages [--quick]      how fast every page of a process is told
       npm run bench -- buffers [--quick]    trackBuffer against copying and hashing all

How long a program stands still while its memory is saved, by tidemark and by what else there is.
All in one run on one machine, interleaved; every run has a fresh program, which checks its memory at the end.

  --sizes LIST     MiB the program holds (64,1024,4096)
  --pages LIST     4k, thp or both (4k,thp); --thp is short for --pages thp
  --runs N         runs of each (5)
  --writes N       random page writes per second (20000)
  --only LIST      some of: idle, gcore, fork-inside, stop, fork, precopy, auto, bare-copy, one-percent
  --dir DIRECTORY  where the images are written (${tmpdir()})
  --json FILE      every run in detail
  --quiet-wait S   wait at most so long before a run for other load to pass (10)
  --retries N      make a run anew that other load disturbed (1)
  --quick          64 MiB, 4k, 2 runs, no waiting: does it work at all?

Exit: 0 done, 1 a program was harmed or a tool failed, 2 usage, 130 interrupted.`

const FLAGS = {
  sizes: { type: 'string' }, pages: { type: 'string' }, thp: { type: 'boolean' }, runs: { type: 'string' }, writes: { type: 'string' },
  only: { type: 'string' }, dir: { type: 'string' }, json: { type: 'string' }, 'quiet-wait': { type: 'string' }, retries: { type: 'string' },
  quick: { type: 'boolean' }, help: { type: 'boolean', short: 'h' },
} as const

/** Throws a TypeError with a line for the user. */
export function readOptions(args: readonly string[]): BenchOptions | 'help' {
  const { values } = parseArgs({ args: [...args], strict: true, options: FLAGS })
  if (values.help === true) return 'help'
  const quick = values.quick === true
  return {
    sizesMib: list(values.sizes ?? (quick ? '64' : '64,1024,4096')).map((size) => count('--sizes', size, 4)),
    pageKinds: list(values.pages ?? (values.thp === true ? 'thp' : quick ? '4k' : '4k,thp')).map(pageKind),
    runs: count('--runs', values.runs ?? (quick ? '2' : '5'), 1),
    writesPerSecond: count('--writes', values.writes ?? '20000', 0),
    directory: values.dir ?? tmpdir(),
    jsonFile: values.json,
    only: values.only === undefined ? undefined : list(values.only),
    quietWaitMs: count('--quiet-wait', values['quiet-wait'] ?? (quick ? '0' : '10'), 0) * 1000,
    retries: count('--retries', values.retries ?? (quick ? '0' : '1'), 0),
  }
}

const list = (text: string): string[] => text.split(',').filter((part) => part !== '')

function pageKind(text: string): PageKind {
  if (text === '4k' || text === 'thp') return text
  throw new TypeError(`--pages must be of 4k and thp, not ${text}`)
}

function count(name: string, text: string, least: number): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < least) throw new TypeError(`${name} must be a whole number from ${least} on, not ${text}`)
  return value
}
