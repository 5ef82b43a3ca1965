/** The live view as lines: pure, so that every size and state of it can be tried. */
import { renderFacts, renderLine, renderSelected, span, type Paint, type Span } from './styled-line.ts'
import { cellWidth, padCells } from './text-width.ts'
import { bodyLines, type BodyLine } from './top-body.ts'
import { KEY_HELP, type SortKey } from './top-keys.ts'
import type { TopState } from './top-state.ts'
import { forecastFacts, forecastRows } from './top-forecast.ts'
import { formatDuration } from './units.ts'

export interface Size {
  readonly columns: number
  readonly rows: number
}

export interface Frame {
  /** At most `rows` of them, each of at most `columns` cells. */
  readonly lines: readonly string[]
  /** All of the body, of which some is in `lines`, and the rows that it has there. */
  readonly body: readonly BodyLine[]
  readonly bodyRows: number
  /** As the state's, corrected so that the selected line is seen. */
  readonly scroll: number
  readonly helpScroll: number
}

const SORT_NAMES: Readonly<Record<SortKey, string>> = {
  written: 'written/s', resident: 'resident', set: 'distinct in 10 s', address: 'address', path: 'path',
}
/** The forecast takes one line on a screen of this many rows, and a table on a higher one. */
const ROWS_FOR_FORECAST = 8
const ROWS_FOR_TABLE = 20

export function frameOf(state: TopState, { columns, rows }: Size, paint: Paint): Frame {
  const render = (spans: readonly Span[]): string => renderLine(spans, columns, paint)
  const all = bodyLines(state, columns - 1)
  const selected = selectedIndexOf(state, all)
  const head = [render(titleSpans(state, columns))]
  const foot = rows < 3 ? [] : [...forecastLines(state, all[selected]?.pid, { columns, rows }), statusSpans(state, columns)].map(render)
  const bodyRows = Math.max(0, rows - head.length - foot.length)
  if (state.help) {
    const helpScroll = Math.max(0, Math.min(state.helpScroll, KEY_HELP.length - bodyRows))
    const shown = helpLines().slice(helpScroll, helpScroll + bodyRows).map(render)
    return { lines: [...head, ...blankTo(shown, bodyRows), ...foot].slice(0, rows), body: all, bodyRows, scroll: state.scroll, helpScroll }
  }
  const scroll = scrollOf(state.scroll, selected, all, bodyRows)
  const shown = all.slice(scroll, scroll + bodyRows).map((line, i) => {
    const spans = [span(scroll + i === selected ? '>' : ' '), ...line.spans(columns - 1)]
    return scroll + i === selected ? renderSelected(spans, columns, paint) : render(spans)
  })
  return { lines: [...head, ...blankTo(shown, bodyRows), ...foot].slice(0, rows), body: all, bodyRows, scroll, helpScroll: state.helpScroll }
}

/** Where the selected line is now; should it be no more, the nearest to where it was. */
export function selectedIndexOf({ selectedKey, selectedIndex }: TopState, lines: readonly BodyLine[]): number {
  const at = lines.findIndex(({ key }) => key === selectedKey)
  if (at >= 0) return at
  for (let from = Math.min(selectedIndex, lines.length - 1); from >= 0; from--) if (lines[from]!.key !== undefined) return from
  return lines.findIndex(({ key }) => key !== undefined)
}

/** As little moved as shows the selected line, and the lines under it that belong to it where they fit. */
function scrollOf(scroll: number, selected: number, lines: readonly BodyLine[], rows: number): number {
  let last = selected
  while (last + 1 < lines.length && lines[last + 1]!.key === undefined && last + 1 - selected < rows) last++
  const within = Math.max(Math.min(scroll, Math.max(0, selected)), last - rows + 1)
  return Math.max(0, Math.min(within, lines.length - rows))
}

function titleSpans({ processes, intervalNs, sort, reversed, paused }: TopState, columns: number): Span[] {
  const watched = processes.filter(({ gone }) => !gone).length
  return renderFacts([
    span('tidemark top', 'bold'),
    ...(paused ? [span('PAUSED', 'yellow')] : []),
    span(`${watched} ${watched === 1 ? 'process' : 'processes'}`),
    span(`every ${formatDuration(intervalNs)}`),
    span(`by ${SORT_NAMES[sort]}${reversed ? ', inverted' : ''}`),
  ], columns, '')
}

function forecastLines(state: TopState, pid: number | undefined, { columns, rows }: Size): Span[][] {
  if (rows < ROWS_FOR_FORECAST) return []
  const process = state.processes.find((one) => one.pid === pid)
  if (process?.sample === undefined || process.gone) return []
  const several = state.processes.length > 1 ? ` of ${process.pid}` : ''
  if (Object.keys(process.sample.predicted).length === 0) return [[span(`A snapshot${several}: not enough seen yet for a forecast`, 'dim')]]
  if (rows < ROWS_FOR_TABLE) return [renderFacts(forecastFacts(process.sample.predicted), columns, '')]
  const title = `A snapshot${several} now would take, by strategy`
  return [[span(title, 'bold')], ...forecastRows(process.sample.predicted).map(([text, colour]) => [span(`  ${text}`, colour)])]
}

function statusSpans({ message, help }: TopState, columns: number): Span[] {
  if (message !== '') return [span(message, 'yellow')]
  const hints = help ? ['? back', 'q quit'] : ['? help', 'q quit', 's sort', 'Enter open', 'p pause', '+- interval']
  return renderFacts(hints.map((hint) => span(hint, 'dim')), columns, '')
}

function helpLines(): Span[][] {
  const width = Math.max(...KEY_HELP.map(([keys]) => cellWidth(keys)))
  return KEY_HELP.map(([keys, what]) => [span(` ${padCells(keys, width)}  `, 'bold'), span(what)])
}

function blankTo(lines: readonly string[], count: number): string[] {
  return [...lines, ...Array.from({ length: Math.max(0, count - lines.length) }, () => '')]
}
