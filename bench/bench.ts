/**
 * `npm run bench`: how long a program stands still while its memory is saved, by tidemark and by what else there is.
 * Asserts nothing about time; fails when a program was harmed, when tidemark failed, or when it took more memory than it may.
 */
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CONTENDERS, type Contender } from './contenders.ts'
import { runQuietly, SLACK_MIB, type Course, type Heat, type Run } from './course.ts'
import { memoryField } from './load.ts'
import { describeMachine } from './machine.ts'
import { runOnePercent, type OnePercentResult } from './one-percent.ts'
import { GuestUnavailable } from '../tests/support/guest-build.ts'
import { readOptions, USAGE, type BenchOptions } from './options.ts'
import { compilePrograms } from './programs.ts'
import { LEGEND, reportGroup, reportOnePercent } from './report.ts'
import { summarize, type Group } from './summary.ts'
import { VictimHarmed } from './victim.ts'

/** What tidemark may have resident, whatever it saves. */
const TOOL_BYTES_MAX = 128 << 20
const ONE_PERCENT = 'one-percent'

const say = (text: string): void => console.log(text)
/** For whoever waits; what is measured goes to standard output. */
const note = (text: string): void => console.error(text)

interface Record {
  readonly groups: Group[]
  readonly runs: Run[]
  readonly onePercent: OnePercentResult[]
  readonly skipped: string[]
}

async function main(): Promise<number> {
  const options = readOptions(process.argv.slice(2))
  if (options === 'help') {
    say(USAGE)
    return 0
  }
  const contenders = chooseContenders(options)
  const interrupt = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupt.abort(new Interrupted(signal)))
  const programs = await compilePrograms()
  const directory = mkdtempSync(join(options.directory, 'tidemark-bench-'))
  const record: Record = { groups: [], runs: [], onePercent: [], skipped: [] }
  try {
    await race({ options, programs, directory, signal: interrupt.signal }, contenders, record)
  } finally {
    rmSync(directory, { recursive: true, force: true })
    if (options.jsonFile !== undefined) writeJson(options.jsonFile, options, record)
  }
  return judge(record)
}

function chooseContenders({ only }: BenchOptions): Contender[] {
  const names = [...CONTENDERS.map(({ name }) => name), ONE_PERCENT]
  for (const name of only ?? []) if (!names.includes(name)) throw new TypeError(`--only knows ${names.join(', ')}, not ${name}`)
  return CONTENDERS.filter(({ name }) => only === undefined || only.includes(name))
}

async function race(course: Course, contenders: readonly Contender[], record: Record): Promise<void> {
  const machine = describeMachine()
  say(`Linux ${machine.kernel} ${machine.arch}, ${machine.processors} × ${machine.processor}, ${Math.round(machine.memoryBytes / 2 ** 30)} GiB, Node ${machine.node}, images to ${course.options.directory}\n`)
  const unavailable = new Map<string, string>()
  for (const { name, unavailable: why } of contenders) {
    const reason = await why?.(course.signal)
    if (reason !== undefined) unavailable.set(name, reason)
  }
  for (const mib of course.options.sizesMib) {
    const reason = lacking(course.options.directory, mib)
    if (reason !== undefined) {
      record.skipped.push(reason)
      say(`- no ${mib} MiB: ${reason}\n`)
      continue
    }
    for (const pages of contenders.length > 0 ? course.options.pageKinds : []) {
      const heat = { mib, pages, writesPerSecond: course.options.writesPerSecond }
      const group = await runGroup(course, heat, contenders, unavailable, record.runs)
      record.groups.push(group)
      say(reportGroup(group, heat))
    }
    await onePercent(course, mib, record)
  }
  say(LEGEND)
}

/** Every round visits every contender once, beginning with another each time: none is always the first after a pause. */
async function runGroup(course: Course, heat: Heat, contenders: readonly Contender[], unavailable: ReadonlyMap<string, string>, all: Run[]): Promise<Group> {
  const able = contenders.filter(({ name }) => !unavailable.has(name))
  const runs: Run[] = []
  for (let round = 0; round < course.options.runs; round++) {
    for (let turn = 0; turn < able.length; turn++) {
      const contender = able[(round + turn) % able.length]!
      // One that cannot or that failed has said so; it will not do better the next time.
      if (runs.some((run) => run.contender === contender.name && run.outcome.kind !== 'done')) continue
      note(`${heat.mib} MiB ${heat.pages}, round ${round + 1} of ${course.options.runs}: ${contender.name}`)
      const run = await runQuietly(course, heat, contender)
      runs.push(run)
      all.push(run)
    }
  }
  const summaries = contenders.map(({ name }) => summarize(name, runs.filter((run) => run.contender === name), unavailable.get(name)))
  return { mib: heat.mib, pages: heat.pages, summaries }
}

async function onePercent(course: Course, mib: number, record: Record): Promise<void> {
  const { only, pageKinds } = course.options
  if (only === undefined ? !pageKinds.includes('4k') : !only.includes(ONE_PERCENT)) return
  note(`${mib} MiB: one per cent dirty`)
  const result = await runOnePercent(course, mib)
  record.onePercent.push(result)
  say(`${reportOnePercent(result).join('\n')}\n`)
}

/** Why a size cannot be measured here. The image is in memory too, until the disk has it. */
function lacking(directory: string, mib: number): string | undefined {
  const { bavail, bsize } = statfsSync(directory)
  const [diskMib, memoryMib] = [bavail * bsize, memoryField('MemAvailable')].map((bytes) => Math.floor(bytes / 2 ** 20)) as [number, number]
  if (diskMib < mib + SLACK_MIB) return `${directory} has ${diskMib} MiB free and ${mib + SLACK_MIB} are needed`
  if (memoryMib < 2 * mib + SLACK_MIB) return `${memoryMib} MiB of memory are available and ${2 * mib + SLACK_MIB} are needed`
  return undefined
}

function judge(record: Record): number {
  const problems = [
    ...record.runs.flatMap(({ contender, mib, pages, outcome }) => outcome.kind === 'failed' ? [`${contender} failed at ${mib} MiB (${pages}): ${outcome.problem}`] : []),
    ...record.onePercent.flatMap(({ mib, failed }) => failed === undefined ? [] : [`one-percent failed at ${mib} MiB: ${failed}`]),
  ]
  const toolBytes = Math.max(0, ...record.runs.map(({ outcome }) => outcome.kind === 'done' ? outcome.toolBytes ?? 0 : 0))
  if (toolBytes > 0) say(`\ntidemark's own memory: ${Math.round(toolBytes / 2 ** 20)} MiB at most; it may have ${TOOL_BYTES_MAX / 2 ** 20}`)
  if (toolBytes > TOOL_BYTES_MAX) problems.push('tidemark took more memory than it may')
  for (const problem of problems) say(`PROBLEM: ${problem}`)
  if (problems.length === 0) say(`no program was harmed in ${record.runs.length + record.onePercent.reduce((sum, { runs }) => sum + runs.length, 0)} runs`)
  return problems.length === 0 ? 0 : 1
}

function writeJson(file: string, options: BenchOptions, record: Record): void {
  const { runs, groups, onePercent, skipped } = record
  writeFileSync(file, `${JSON.stringify({ schema: 'tidemark.bench/1', machine: describeMachine(), options, groups, onePercent, skipped, runs }, null, 1)}\n`)
}

class Interrupted extends Error {
  override readonly name = 'Interrupted'
  readonly exitCode: number

  constructor(signal: 'SIGINT' | 'SIGTERM') {
    super(`interrupted by ${signal}`)
    this.exitCode = signal === 'SIGINT' ? 130 : 143
  }
}

/** Errors of the timers wrap the reason that a signal was given. */
function interruption(error: unknown): Interrupted | undefined {
  if (error instanceof Interrupted) return error
  return error instanceof Error && error.cause instanceof Interrupted ? error.cause : undefined
}

try {
  process.exitCode = await main()
} catch (error) {
  const interrupted = interruption(error)
  if (interrupted !== undefined) note('interrupted; the programs are gone and so are the images')
  else if (error instanceof TypeError) note(`bench: ${error.message}\n\n${USAGE}`)
  else if (error instanceof VictimHarmed || error instanceof GuestUnavailable) note(`bench: ${error.message}`)
  else note(error instanceof Error ? error.stack ?? error.message : String(error))
  process.exitCode = interrupted?.exitCode ?? (error instanceof TypeError ? 2 : 1)
}
