/** What the bench prints: Markdown that reads well in a terminal. */
import type { Heat } from './course.ts'
import type { OnePercentResult } from './one-percent.ts'
import { spreadOf, type Spread } from './statistics.ts'
import { bytesPerSecond, type Group, type Summary } from './summary.ts'
import { renderTable } from './table.ts'

const HEAD = ['tool', 'worst stall ms', 'own pause ms', 'arming ms', 'total s', 'written MiB', 'extra memory MiB', 'tool RSS MiB', 'runs']
const RIVALS = [['gcore', "gcore's"], ['fork-inside', "the fork's in the program"]] as const
const OURS = ['precopy', 'auto', 'fork', 'stop'] as const

export const LEGEND = `worst stall: what the program itself felt, between two looks at its clock. own pause: what the tool says. arming: a
shorter stop before. total: the whole command. extra memory: anonymous memory of the machine at its peak, tool and
copies on write. tool RSS: most the tool's process had resident. Figures are median (min–max); ~n: n of the runs
had more than 10 % of the processors used by others.`

export function reportGroup(group: Group, heat: Heat): string {
  const size = heat.mib >= 1024 ? `${heat.mib / 1024} GiB` : `${heat.mib} MiB`
  const lines = [
    `### ${size}, ${heat.pages === 'thp' ? 'huge pages' : '4 KiB pages'}, ${heat.writesPerSecond} random page writes per second`, '',
    renderTable(HEAD, group.summaries.filter(({ runs }) => runs > 0).map(rowOf)), '',
    ...group.summaries.filter(({ skipped }) => skipped !== undefined).map(({ title, skipped }) => `- no ${title}: ${skipped}`),
    ...ratioLines(group.summaries),
    ...throughputLines(group.summaries),
  ]
  return `${lines.join('\n')}\n`
}

function rowOf(summary: Summary): string[] {
  const { title, worstStallNs, pauseNs, armingNs, totalNs, writtenBytes, extraBytes, toolBytes, runs, disturbedRuns } = summary
  return [
    title, range(worstStallNs, 1e6, 2), range(pauseNs, 1e6, 2), median(armingNs, 1e6, 2), range(totalNs, 1e9, 2),
    median(writtenBytes, 2 ** 20, 0), range(extraBytes, 2 ** 20, 0), range(toolBytes, 2 ** 20, 0), `${runs}${disturbedRuns > 0 ? ` ~${disturbedRuns}` : ''}`,
  ]
}

function ratioLines(summaries: readonly Summary[]): string[] {
  const stallOf = (name: string): number | undefined => summaries.find(({ contender }) => contender === name)?.worstStallNs?.median
  return OURS.flatMap((name) => {
    const ours = stallOf(name)
    const against = RIVALS.flatMap(([rival, whose]) => {
      const theirs = stallOf(rival)
      return ours === undefined || theirs === undefined ? [] : [`${ratio(ours, theirs)} ${whose}`]
    })
    return against.length === 0 ? [] : [`- worst stall of tidemark ${name}: ${against.join(', ')}`]
  })
}

function throughputLines(summaries: readonly Summary[]): string[] {
  const find = (name: string): Summary | undefined => summaries.find(({ contender }) => contender === name)
  const bare = bytesPerSecond(find('bare-copy'))
  if (bare === undefined) return []
  return (['stop', 'precopy'] as const).flatMap((name) => {
    const [save, command] = [bytesPerSecond(find(name)), bytesPerSecond(find(name), 'totalNs')]
    if (save === undefined || command === undefined) return []
    return [`- throughput of tidemark ${name}: ${percent(save, bare)} of the bare loop's ${(bare / 1e9).toFixed(2)} GB/s (${percent(command, bare)} with the start of Node)`]
  })
}

export function reportOnePercent(result: OnePercentResult): string[] {
  const { mib, runs, skipped, failed } = result
  const lines = [skipped, failed].flatMap((reason) => reason === undefined ? [] : [`- pause at 1 % dirty, ${mib} MiB: none: ${reason}`])
  const [pause, bare, pages] = [spreadOf(runs.map(({ pauseNs }) => pauseNs)), spreadOf(runs.map(({ barePauseNs }) => barePauseNs)), spreadOf(runs.map(({ dirtyPages }) => dirtyPages))]
  if (pause === undefined || bare === undefined || pages === undefined) return lines
  const ratios = spreadOf(runs.map(({ pauseNs, barePauseNs }) => pauseNs / barePauseNs))
  const share = percent(pages.median, mib * 2 ** 20 / 4096, 1)
  return [...lines, `- pause with ${Math.round(pages.median)} pages (${share}) of ${mib} MiB dirty: ${range(pause, 1e6, 2)} ms; bare PAGEMAP_SCAN and copy of as many: ${range(bare, 1e6, 2)} ms; ratio ${range(ratios, 1, 2)}`]
}

function range(spread: Spread | undefined, unit: number, digits: number): string {
  if (spread === undefined) return '–'
  const [middle, min, max] = [spread.median, spread.min, spread.max].map((value) => (value / unit).toFixed(digits))
  return min === max ? middle! : `${middle} (${min}–${max})`
}

function median(spread: Spread | undefined, unit: number, digits: number): string {
  return spread === undefined ? '–' : (spread.median / unit).toFixed(digits)
}

/** As people say it: 1/20 of, or 1.5 times. */
function ratio(ours: number, theirs: number): string {
  return ours <= theirs ? `1/${(theirs / ours).toFixed(theirs / ours < 10 ? 1 : 0)} of` : `${(ours / theirs).toFixed(1)} times`
}

function percent(part: number, whole: number, digits = 0): string {
  return `${(part / whole * 100).toFixed(digits)} %`
}
