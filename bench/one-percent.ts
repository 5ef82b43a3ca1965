/**
 * The pause with about one per cent of the pages still to copy, against the bare scan and copy of as many.
 * tidemark is held to a single round, and the victim writes as fast as makes 1 % of it dirty meanwhile.
 */
import type { DumpResult } from 'tidemark'
import { lastJson, runCommand } from './commands.ts'
import { runTidemark } from './contenders.ts'
import { runQuietly, type Course } from './course.ts'

export interface OnePercentRun {
  readonly dirtyPages: number
  readonly pauseNs: number
  readonly barePauseNs: number
  readonly worstStallNs: number
}

export interface OnePercentResult {
  readonly mib: number
  readonly runs: readonly OnePercentRun[]
  /** Why there are no more of them. */
  readonly skipped?: string
  readonly failed?: string
}

/** Pages per second that make 1 % dirty while all is copied once at 1.5 GB/s: the size drops out. */
const WRITES_PER_SECOND = 3600

export async function runOnePercent(course: Course, mib: number): Promise<OnePercentResult> {
  const runs: OnePercentRun[] = []
  for (let i = 0; i < course.options.runs; i++) {
    const heat = { mib, pages: '4k', writesPerSecond: WRITES_PER_SECOND } as const
    const { outcome, mark } = await runQuietly(course, heat, { name: 'one-percent', run: (race) => runTidemark(race, ['precopy', '1']) })
    if (outcome.kind === 'skipped') return { mib, runs, skipped: outcome.reason }
    if (outcome.kind === 'failed') return { mib, runs, failed: outcome.problem }
    const { dirtyAtPausePages: dirtyPages } = outcome.detail as DumpResult
    const bare = await runBare(course, mib, dirtyPages)
    if (bare.skipped !== undefined) return { mib, runs, skipped: bare.skipped }
    runs.push({ dirtyPages, pauseNs: outcome.pauseNs ?? 0, barePauseNs: bare.pauseNs, worstStallNs: mark.worstGapNs })
  }
  return { mib, runs }
}

interface BareReport {
  readonly pauseNs: number
  readonly skipped?: string
}

async function runBare(course: Course, mib: number, dirtyPages: number): Promise<BareReport> {
  const { stdout } = await runCommand(course.programs.path('bare-dirty'), [String(mib), String(Math.max(1, dirtyPages))], course.signal)
  return lastJson(stdout) as BareReport
}
