/** From runs to figures: medians with their range, and how they compare. */
import { CONTENDERS, type Finish } from './contenders.ts'
import type { Run } from './course.ts'
import { BUSY_PERCENT_MAX } from './load.ts'
import type { PageKind } from './options.ts'
import { spreadOf, type Spread } from './statistics.ts'

/** One contender at one size and kind of page. */
export interface Summary {
  readonly contender: string
  readonly title: string
  readonly runs: number
  readonly worstStallNs: Spread | undefined
  readonly pauseNs: Spread | undefined
  readonly armingNs: Spread | undefined
  readonly totalNs: Spread | undefined
  readonly saveNs: Spread | undefined
  readonly savedBytes: Spread | undefined
  readonly writtenBytes: Spread | undefined
  readonly extraBytes: Spread | undefined
  readonly toolBytes: Spread | undefined
  readonly disturbedRuns: number
  /** Why it has no figures. */
  readonly skipped: string | undefined
}

export interface Group {
  readonly mib: number
  readonly pages: PageKind
  readonly summaries: readonly Summary[]
}

export function summarize(contender: string, runs: readonly Run[], unavailable?: string): Summary {
  const finished = runs.flatMap((run) => run.outcome.kind === 'done' ? [{ run, finish: run.outcome }] : [])
  const of = (pick: (finish: Finish) => number | undefined): Spread | undefined => spreadOf(finished.flatMap(({ finish }) => pick(finish) ?? []))
  return {
    contender, title: CONTENDERS.find(({ name }) => name === contender)?.title ?? contender, runs: finished.length,
    worstStallNs: spreadOf(finished.map(({ run }) => run.mark.worstGapNs)),
    pauseNs: of(({ pauseNs }) => pauseNs), armingNs: of(({ armingNs }) => armingNs),
    totalNs: of(({ totalNs }) => totalNs), saveNs: of(({ saveNs }) => saveNs),
    savedBytes: of(({ savedBytes }) => savedBytes), writtenBytes: of(({ writtenBytes }) => writtenBytes),
    extraBytes: spreadOf(finished.map(({ run }) => run.extraBytes)), toolBytes: of(({ toolBytes }) => toolBytes),
    disturbedRuns: finished.filter(({ run }) => run.othersPercent >= BUSY_PERCENT_MAX).length,
    skipped: unavailable ?? whyNot(runs),
  }
}

function whyNot(runs: readonly Run[]): string | undefined {
  for (const { outcome } of runs) {
    if (outcome.kind === 'skipped') return outcome.reason
    if (outcome.kind === 'failed') return outcome.problem
  }
  return undefined
}

/** Bytes of the victim's memory saved per second, by medians. */
export function bytesPerSecond(summary: Summary | undefined, time: 'saveNs' | 'totalNs' = 'saveNs'): number | undefined {
  if (summary?.savedBytes === undefined || summary[time] === undefined || summary.savedBytes.median === 0) return undefined
  return summary.savedBytes.median / summary[time].median * 1e9
}
