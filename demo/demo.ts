/**
 * `npm run demo`: a Node program keeps writing while its memory is saved, in every way this machine allows, and every
 * image is checked. Needs Node and nothing else. Ends with 0 also where something is not permitted: then it says what.
 */
import { mkdtempSync, rmSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { capabilities, dump, isTidemarkError, type DumpOptions, type DumpResult } from 'tidemark'
import { renderTable } from '../bench/table.ts'
import { describeMachine } from './machine-report.ts'
import { readOptions, USAGE, type DemoOptions } from './options.ts'
import { TargetProcess } from './target-process.ts'
import { openInGdb, verifyImage, type GdbReport } from './verify-image.ts'

type Way = NonNullable<DumpOptions['strategy']>

const WAYS: readonly Way[] = ['stop', 'fork', 'precopy', 'auto']
const IDLE_MS = 700
/** Beside the target's memory an image holds what Node itself has, about 60 MiB. */
const IMAGE_OVERHEAD_BYTES = 128 << 20

/** What came of one way: its row, and what else there is to say. */
interface Trial {
  readonly row: readonly string[]
  readonly note: string | undefined
  /** Something is wrong that neither kernel nor user explain. */
  readonly problem: string | undefined
}

const say = (text = ''): void => console.log(text)

async function main(): Promise<number> {
  const options = readOptions(process.argv.slice(2))
  if (options === 'help') {
    say(USAGE)
    return 0
  }
  const { bavail, bsize } = statfsSync(options.directory)
  const neededBytes = (options.mib << 20) + IMAGE_OVERHEAD_BYTES
  if (bavail * bsize < neededBytes) throw new TypeError(`${options.directory} has ${mib(bavail * bsize)} MiB free and an image takes ${mib(neededBytes)}: choose another --dir, or a smaller --mib`)
  return await show(options)
}

async function show(options: DemoOptions): Promise<number> {
  const interrupt = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupt.abort(signal))
  say(`tidemark demo: a Node program with ${options.mib} MiB of data makes ${options.writesPerSecond} writes per second.
Its memory is saved while it runs; it tells how long it felt itself stand still. In every image its
writes must all be of one instant, which a structure in the program's memory makes checkable.
`)
  const problems = await reportMachine()
  const directory = mkdtempSync(join(options.directory, 'tidemark-demo-'))
  try {
    await using target = await TargetProcess.start(options.mib, options.writesPerSecond)
    const trials: Trial[] = []
    for (const way of WAYS) {
      if (interrupt.signal.aborted) break
      if (process.stderr.isTTY) process.stderr.write(`${way} …`)
      trials.push(await tryWay(way, target, join(directory, `${way}.core`), interrupt.signal))
      if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
    }
    if (interrupt.signal.aborted) return interrupt.signal.reason === 'SIGINT' ? 130 : 143
    problems.push(...reportTrials(trials))
    problems.push(...await partFrom(target))
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
  for (const problem of problems) say(`PROBLEM     ${problem}`)
  return problems.length === 0 ? 0 : 1
}

async function reportMachine(): Promise<string[]> {
  try {
    say(describeMachine(await capabilities()))
    return []
  } catch (error) {
    return [`what this machine can do could not be found out: ${messageOf(error)}`]
  } finally {
    say()
  }
}

async function tryWay(way: Way, target: TargetProcess, output: string, signal: AbortSignal): Promise<Trial> {
  await target.stall()
  await sleep(IDLE_MS)
  const idle = await target.stall()
  try {
    const result = await dump(target.pid, { output, strategy: way, signal })
    const felt = await target.stall()
    const image = verifyImage(output, target.token)
    const gdb = await openInGdb(output, process.execPath)
    const { testimony } = image
    const problem = testimony.kind === 'one-instant' ? undefined : `${way}: the image is ${testimony.kind === 'torn' ? `torn: ${testimony.problem}` : testimony.kind}`
    return {
      row: rowOf(way, result, { idleMs: idle.worstStallMs, feltMs: felt.worstStallMs }, testimony.kind === 'one-instant' ? `yes, write ${testimony.writes}` : 'NO'),
      note: `${way.padEnd(8)} ${describeGdb(gdb)}${unproven(result)}`,
      problem,
    }
  } catch (error) {
    return failedTrial(way, error)
  } finally {
    rmSync(output, { force: true })
  }
}

function rowOf(way: Way, result: DumpResult, stalls: { readonly idleMs: number; readonly feltMs: number }, oneInstant: string): string[] {
  return [
    way === 'auto' ? `auto: ${result.strategy}` : way, ms(result.pauseNs / 1e6), ms(result.armingNs / 1e6), ms(stalls.feltMs), ms(stalls.idleMs),
    `${(result.totalNs / 1e9).toFixed(2)} s`, `${mib(result.fileBytes)} MiB`, result.consistency, oneInstant,
  ]
}

function describeGdb(gdb: GdbReport): string {
  switch (gdb.kind) {
    case 'opened': return `gdb opens it: ${gdb.frames[0]}${gdb.frames.length > 1 ? ` · thread 2: ${gdb.frames.at(-1)}` : ''}`
    case 'failed': return `gdb cannot open it: ${gdb.problem}`
    case 'no-gdb': return 'gdb is not installed here'
  }
}

function unproven(result: DumpResult): string {
  const reasons = result.unproven.map(({ why }) => why)
  return reasons.length === 0 ? '' : `\n${' '.repeat(9)}unproven: ${[...new Set(reasons)].join('; ')}`
}

/** What kernel or user do not permit is an answer, not a failure. */
function failedTrial(way: Way, error: unknown): Trial {
  const expected = isTidemarkError(error) && (error.code === 'not-permitted' || error.code === 'unsupported' || error.code === 'aborted')
  const row = [way, '–', '–', '–', '–', '–', '–', expected ? 'not here' : 'FAILED', '–']
  const text = `${way}: ${messageOf(error)}`
  return expected ? { row, note: text, problem: undefined } : { row, note: undefined, problem: text }
}

function messageOf(error: unknown): string {
  if (isTidemarkError(error)) return error.hint === undefined ? error.message : `${error.message}; ${error.hint}`
  return error instanceof Error ? error.message : String(error)
}

function reportTrials(trials: readonly Trial[]): string[] {
  say(renderTable(['strategy', 'our pause', 'arming', 'stall felt', 'idle gap', 'total', 'size', 'consistency', 'one instant'], trials.map(({ row }) => row)))
  say(`
our pause: first thread stopped to last thread let go; arming: one thread stopped earlier, to have writes followed;
stall felt: the longest the program did not get to look at the clock while it was saved; idle gap: the same just
before, when nobody touched it.
`)
  for (const { note } of trials) if (note !== undefined) say(note)
  return trials.flatMap(({ problem }) => problem ?? [])
}

/** The target's own last look at its memory. */
async function partFrom(target: TargetProcess): Promise<string[]> {
  const { testimony } = await target.end()
  if (testimony.kind !== 'one-instant') return [`the program found its own memory damaged: ${testimony.kind === 'torn' ? testimony.problem : testimony.kind}`]
  say(`\nThe program ran on through all of it and found its memory whole after ${testimony.writes} writes.`)
  return []
}

const ms = (value: number): string => `${value.toFixed(value < 10 ? 2 : 1)} ms`
const mib = (bytes: number): string => String(Math.round(bytes / 2 ** 20))

try {
  process.exitCode = await main()
} catch (error) {
  // A TypeError with a code is the user's wrong option; ours has a message made for them too.
  console.error(error instanceof TypeError ? `demo: ${error.message}\n\n${USAGE}` : error)
  process.exitCode = error instanceof TypeError ? 2 : 1
}
