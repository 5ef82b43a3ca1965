/** What `top` prints where there is no screen: a table once, a line for each look, or JSON Lines. */
import type { WatchOutcome, WatchSample } from '../index.ts'
import { renderFacts, renderLine, span, type Paint } from './styled-line.ts'
import { formatTable, type Align } from './table.ts'
import { cutMiddle, padCells, printable } from './text-width.ts'
import { headFacts, processFacts } from './top-body.ts'
import { COLUMN, sortMappings, type ColumnName } from './top-columns.ts'
import { byPause, forecastRows } from './top-forecast.ts'
import { formatBytesShort, formatDuration, formatShare } from './units.ts'

const COLUMNS: readonly ColumnName[] = ['address', 'permissions', 'resident', 'written', 'in1s', 'in10s', 'in60s', 'tracker', 'blind', 'path']

/** Everything about a process as lines as long as they need to be. Mappings with nothing in memory are only counted. */
export function formatOnce(sample: WatchSample, paint: Paint): string[] {
  const { pageBytes } = sample
  const shown = sortMappings(sample.mappings, 'written', false).filter(({ residentPages, swappedPages, writtenPages, blindSpots }) =>
    residentPages + swappedPages + writtenPages + blindSpots.length > 0)
  const cells = shown.map((mapping) => COLUMNS.map((name) => printable(COLUMN[name].cell({ mapping, pageBytes, trend: [] }, COLUMN[name].width))))
  const [titles, ...rows] = formatTable([COLUMNS.map((name) => COLUMN[name].title), ...cells], COLUMNS.map((name): Align => COLUMN[name].align))
  const empty = sample.mappings.length - shown.length
  const blindSpots = [
    ...sample.blindSpots.map(({ kind, why }) => `! ${kind}: ${why}`),
    ...shown.flatMap(({ start, end, path, blindSpots }) => blindSpots.map(({ kind, why }) => `! ${start}-${end} ${path}: ${kind}: ${why}`)),
  ]
  const predicted = Object.keys(sample.predicted).length === 0 ? [] : ['', paint('bold', 'A snapshot now would take, by strategy'),
    ...forecastRows(sample.predicted).map(([text, colour]) => renderLine([span(text, colour)], Infinity, paint))]
  return [
    ...[headFacts(sample), ...processFacts(sample)].map((facts, i) => renderLine(renderFacts(facts, Infinity, i === 0 ? '' : '  '), Infinity, paint)),
    '', paint('dim', titles!), ...rows,
    ...(empty > 0 ? [paint('dim', `and ${empty} ${empty === 1 ? 'mapping' : 'mappings'} with nothing in memory`)] : []),
    ...blindSpots.map((text) => renderLine([span(text, 'yellow')], Infinity, paint)),
    ...predicted,
  ]
}

const NAME_WIDTH = 15
const LINE: readonly (readonly [title: string, width: number, align: Align, cell: (sample: WatchSample) => string])[] = [
  ['PID', 7, 'right', ({ pid }) => String(pid)],
  ['NAME', NAME_WIDTH, 'left', ({ name }) => cutMiddle(printable(name), NAME_WIDTH)],
  ['RSS', 5, 'right', ({ residentPages, pageBytes }) => formatBytesShort(residentPages * pageBytes)],
  ['WRITE/S', 7, 'right', ({ writtenPagesPerSecond, pageBytes }) => formatBytesShort(writtenPagesPerSecond * pageBytes)],
  ['IN 1s', 5, 'right', ({ workingSet, pageBytes }) => formatBytesShort(workingSet.in1sPages * pageBytes)],
  ['IN 10s', 6, 'right', ({ workingSet, pageBytes }) => formatBytesShort(workingSet.in10sPages * pageBytes)],
  ['IN 60s', 6, 'right', ({ workingSet, pageBytes }) => formatBytesShort(workingSet.in60sPages * pageBytes)],
  ['SLOWDOWN', 8, 'right', ({ cost }) => formatShare(cost.slowdownShare)],
  ['PAUSE', 0, 'left', ({ predicted }) => byPause(predicted).slice(0, 1).map(([name, { pauseNs }]) => `${formatDuration(pauseNs)} by ${name}`).join('')],
]

export const LINE_TITLES = LINE.map(([title, width, align]) => padCells(title, width, align)).join('  ')

/** A look as one line under {@link LINE_TITLES}. */
export function formatLine(sample: WatchSample): string {
  return LINE.map(([, width, align, cell]) => padCells(cell(sample), width, align)).join('  ').trimEnd()
}

/** tidemark.top/1: field names are a contract. */
export function toJsonLine(outcome: WatchOutcome): string {
  const { kind } = outcome
  return JSON.stringify({ schema: 'tidemark.top/1', kind, ...(kind === 'sample' ? outcome.sample : { ...outcome, kind }) })
}
