/** Everything that saves a victim's memory, behind one interface, and what it is compared with. */
import { statSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { lastJson, missing, runCommand } from './commands.ts'
import type { RunnerReport } from './dump-runner.ts'
import type { Programs } from './programs.ts'
import type { Victim } from './victim.ts'

export interface Race {
  readonly victim: Victim
  readonly mib: number
  readonly programs: Programs
  /** Where to write. A tool that adds something to the name says so in {@link Finish.file}. */
  readonly file: string
  readonly signal: AbortSignal
}

/** What a tool says of itself; `undefined` is what it does not measure. */
export type Outcome =
  | { readonly kind: 'done' } & Finish
  /** This machine or this user cannot. */
  | { readonly kind: 'skipped'; readonly reason: string }
  | { readonly kind: 'failed'; readonly problem: string }

export interface Finish {
  readonly totalNs: number
  readonly pauseNs: number | undefined
  readonly armingNs: number | undefined
  /** Bytes of the victim's memory saved; the unit of throughput. */
  readonly savedBytes: number
  readonly writtenBytes: number
  /** Of totalNs, what the saving itself took: without the start of a process around it. */
  readonly saveNs: number
  /** Peak resident memory of the tool's own process. */
  readonly toolBytes: number | undefined
  /** For the record. */
  readonly detail: unknown
}

export interface Contender {
  readonly name: string
  readonly title: string
  /** Why it cannot run here, asked once. */
  readonly unavailable?: (signal: AbortSignal) => Promise<string | undefined>
  readonly run: (race: Race) => Promise<Outcome>
}

const RUNNER = fileURLToPath(new URL('./dump-runner.js', import.meta.url))
const NOTHING = { pauseNs: undefined, armingNs: undefined, toolBytes: undefined, detail: undefined }
/** As long as a dump takes at this speed, so that chance has as much time to disturb. */
const IDLE_BYTES_PER_SECOND = 1.5e9
const IDLE_MS_MIN = 500

const idle: Contender = {
  name: 'idle', title: 'nothing (idle gap)',
  async run({ mib, signal }) {
    const began = process.hrtime.bigint()
    await sleep(Math.max(IDLE_MS_MIN, mib * 2 ** 20 / IDLE_BYTES_PER_SECOND * 1000), undefined, { signal })
    const totalNs = Number(process.hrtime.bigint() - began)
    return { kind: 'done', totalNs, saveNs: totalNs, savedBytes: 0, writtenBytes: 0, ...NOTHING }
  },
}

const gcore: Contender = {
  name: 'gcore', title: 'gcore',
  async unavailable(signal) {
    return await missing('gdb', signal) ?? await missing('gcore', signal)
  },
  async run({ victim, file, signal }) {
    const { exitCode, stdout, stderr, wallNs } = await runCommand('gcore', ['-o', file, String(victim.pid)], signal)
    const core = statSync(`${file}.${victim.pid}`, { throwIfNoEntry: false })
    if (exitCode !== 0 || core === undefined) return { kind: 'skipped', reason: `gcore could not (exit ${exitCode}): ${lastLine(stderr) || lastLine(stdout)}` }
    return { kind: 'done', totalNs: wallNs, saveNs: wallNs, savedBytes: core.size, writtenBytes: core.size, ...NOTHING }
  },
}

const forkInside: Contender = {
  name: 'fork-inside', title: 'fork in the program',
  async run({ victim, file }) {
    const reply = await victim.forkInside(file)
    if (reply.childStatus !== 0) return { kind: 'failed', problem: `the child could not save (status ${reply.childStatus})` }
    return {
      kind: 'done', totalNs: reply.childTotalNs, saveNs: reply.childTotalNs, savedBytes: reply.bytes, writtenBytes: reply.bytes,
      pauseNs: reply.forkNs, armingNs: undefined, toolBytes: undefined, detail: reply,
    }
  },
}

function tidemark(strategy: 'stop' | 'fork' | 'precopy' | 'auto'): Contender {
  return { name: strategy, title: `tidemark ${strategy}`, run: (race) => runTidemark(race, [strategy]) }
}

/** A dump in a process of its own; the time of the process is the time of the tool. */
export async function runTidemark({ victim, file, signal }: Race, args: readonly string[]): Promise<Outcome> {
  const { stdout, stderr, wallNs } = await runCommand(process.execPath, [RUNNER, String(victim.pid), file, ...args], signal)
  if (stdout === '') return { kind: 'failed', problem: `it ended without a word: ${lastLine(stderr)}` }
  const report = lastJson(stdout) as RunnerReport
  if (report.kind === 'failed') {
    const cannot = report.code === 'not-permitted' || report.code === 'unsupported'
    return cannot ? { kind: 'skipped', reason: report.message } : { kind: 'failed', problem: `${report.code}: ${report.message}` }
  }
  const { result, peakBytes } = report
  return {
    kind: 'done', totalNs: wallNs, saveNs: result.totalNs, pauseNs: result.pauseNs, armingNs: result.armingNs,
    savedBytes: result.capturedPages * victim.pageBytes, writtenBytes: result.writtenBytes, toolBytes: peakBytes, detail: result,
  }
}

const bareCopy: Contender = {
  name: 'bare-copy', title: '(bare readv+write, torn)',
  async run({ victim, file, programs, signal }) {
    const bytes = victim.region.pages * victim.pageBytes
    const { stdout } = await runCommand(programs.path('bare-copy'), [String(victim.pid), victim.region.start, String(bytes), file], signal)
    const report = lastJson(stdout) as { readonly totalNs: number; readonly bytes: number; readonly skipped?: string }
    if (report.skipped !== undefined) return { kind: 'skipped', reason: report.skipped }
    return { kind: 'done', totalNs: report.totalNs, saveNs: report.totalNs, savedBytes: report.bytes, writtenBytes: report.bytes, ...NOTHING }
  },
}

function lastLine(text: string): string {
  return text.trimEnd().split('\n').at(-1) ?? ''
}

export const CONTENDERS: readonly Contender[] = [
  idle, gcore, forkInside, tidemark('stop'), tidemark('fork'), tidemark('precopy'), tidemark('auto'), bareCopy,
]
