/** The part of the live view that scrolls: each process and its mappings, as lines that are drawn only when they are seen. */
import type { MappingSample, WatchSample } from '../index.ts'
import { heatStrip, sparkline } from './sparkline.ts'
import { renderFacts, span, type Span } from './styled-line.ts'
import { wrapText, type Colour } from './table.ts'
import { cutEnd, printable } from './text-width.ts'
import { layOut, rowSpans, sortMappings, titleSpans, type Layout } from './top-columns.ts'
import { mappingKey, processKey, TREND_LENGTH, type ProcessView, type TopState } from './top-state.ts'
import { formatBytes, formatCount, formatDuration, formatShare } from './units.ts'

export interface BodyLine {
  readonly pid: number
  /** Of a line that can be selected; several lines may belong to one thing, and have keys of their own. */
  readonly key: string | undefined
  /** The process or mapping that is opened or closed from here. */
  readonly folds: string | undefined
  /** Within `width` cells, or it is cut. */
  readonly spans: (width: number) => readonly Span[]
}

/** All lines of the body, for a screen of `width` cells. */
export function bodyLines(state: TopState, width: number): BodyLine[] {
  return state.processes.flatMap((process) => processLines(process, state, width))
}

function processLines(process: ProcessView, state: TopState, width: number): BodyLine[] {
  const { pid, sample } = process
  const key = processKey(pid)
  const closed = state.toggled.has(key)
  const beneath = (spans: BodyLine['spans']): BodyLine => ({ pid, key: undefined, folds: key, spans })
  const lines: BodyLine[] = [{ pid, key, folds: key, spans: (width) => headSpans(process, closed, width) }]
  if (process.gone) return lines
  if (process.note !== '') lines.push(beneath(() => [span(`  ${process.note}`, 'yellow')]))
  if (sample === undefined || closed) return lines
  lines.push(...processFacts(sample).map((facts) => beneath((width) => renderFacts(facts, width, '  '))))
  for (const { kind, why } of sample.blindSpots) lines.push(beneath(() => [span(`  ! ${kind}: ${why}`, 'yellow')]))
  if (sample.heat.length > 0) lines.push(beneath((width) => [span('  '), ...heatStrip(sample.heat, sample.heatCellPages, width - 2)]))
  return [...lines, ...mappingLines(process, sample, state, width)]
}

/** Its one line when it is closed, its first when it is open. */
function headSpans({ pid, name, sample, trend, gone }: ProcessView, closed: boolean, width: number): Span[] {
  const title = `${pid}${name === '' ? '' : ` ${printable(name)}`}`
  if (gone) return [span(`  ${title}`, 'dim'), span(' is gone', 'yellow')]
  if (sample === undefined) return [span(`  ${title}`, 'bold'), span('  measuring …', 'dim')]
  const history = span(sparkline(trend, Math.min(TREND_LENGTH, trend.length)), 'green')
  return renderFacts([...headFacts(sample), history], width, closed ? '+ ' : '- ')
}

/** Which process, what it writes and what it has: the most wanted first. */
export function headFacts({ pid, name, pageBytes, writtenPagesPerSecond, residentPages, swappedPages }: WatchSample): Span[] {
  const swapped = swappedPages > 0 ? ` (and ${formatBytes(swappedPages * pageBytes)} swapped)` : ''
  return [
    span(`${pid} ${printable(name)}`, 'bold'),
    span(`${formatCount(writtenPagesPerSecond)} pages/s written, ${formatBytes(writtenPagesPerSecond * pageBytes)}/s`),
    span(`${formatBytes(residentPages * pageBytes)} resident${swapped}`),
  ]
}

/** How much of its memory it writes, and what watching it costs. */
export function processFacts({ workingSet, pageBytes, cost, elapsedNs, nextAfterNs }: WatchSample): Span[][] {
  const set = (pages: number): string => formatBytes(pages * pageBytes)
  const next = nextAfterNs > elapsedNs * 1.05 ? `, next after ${formatDuration(nextAfterNs)} to keep the budget` : ''
  return [
    [
      span(`distinct written: ${set(workingSet.in1sPages)} in 1 s`),
      span(`${set(workingSet.in10sPages)} in 10 s`),
      span(`${set(workingSet.in60sPages)} in 60 s`),
    ],
    [
      span(`cost: estimated slowdown ${formatShare(cost.slowdownShare)}`),
      span(`${formatCount(cost.extraFaultsPerSecond)} extra faults/s`),
      span(`tool ${formatShare(cost.toolCpuShare)} of a CPU`),
      span(`interval ${formatDuration(elapsedNs)}${next}`),
      ...(cost.stopNs > 0 ? [span(`stood still ${formatDuration(cost.stopNs)}`)] : []),
    ],
  ]
}

function mappingLines(process: ProcessView, sample: WatchSample, state: TopState, width: number): BodyLine[] {
  const { pid } = process
  const layout = layOut(width - 2)
  const titles: BodyLine = { pid, key: undefined, folds: processKey(pid), spans: () => [span('  '), ...titleSpans(layout, state.sort)] }
  return [titles, ...sortMappings(sample.mappings, state.sort, state.reversed).flatMap((mapping) => {
    const key = mappingKey(pid, mapping)
    const open = state.toggled.has(key)
    const line: BodyLine = { pid, key, folds: key, spans: () => mappingSpans(process, mapping, sample.pageBytes, open, layout) }
    return open ? [line, ...detailLines(mapping, sample, pid, width)] : [line]
  })]
}

function mappingSpans(process: ProcessView, mapping: MappingSample, pageBytes: number, open: boolean, layout: Layout): Span[] {
  const trend = process.trends.get(mappingKey(process.pid, mapping)) ?? []
  return [span(open ? '- ' : '  '), ...rowSpans(layout, { mapping, pageBytes, trend })]
}

const DETAIL_INDENT = '    '

/** What an open mapping has to say, each line selectable so that all of it can be reached on a small screen. */
function detailLines(mapping: MappingSample, sample: WatchSample, pid: number, width: number): BodyLine[] {
  const { start, end, permissions, path, workingSet: { in1sPages, in10sPages, in60sPages } } = mapping
  const sentences = [
    `${start}-${end} ${permissions}`,
    printable(path) || '(anonymous)',
    `${formatCount(mapping.residentPages)} pages resident, ${formatCount(mapping.swappedPages)} swapped`,
    `${formatCount(mapping.writtenPages)} pages written in the last ${formatDuration(sample.elapsedNs)}; `
      + `${formatCount(in1sPages)} distinct in 1 s, ${formatCount(in10sPages)} in 10 s, ${formatCount(in60sPages)} in 60 s`,
    mapping.tracker === 'none' ? 'followed by no tracker' : `followed by ${mapping.tracker}`,
    ...mapping.blindSpots.map(({ kind, why }) => `! ${kind}: ${printable(why)}`),
  ]
  const key = mappingKey(pid, mapping)
  return sentences.flatMap((sentence) => {
    const colour: Colour | undefined = sentence.startsWith('! ') ? 'yellow' : undefined
    return wrapText(sentence, width, DETAIL_INDENT).flatMap((line) => broken(line, width)).map((line) => ({ line, colour }))
  }).map(({ line, colour }, i) => ({ pid, key: `${key} ${i}`, folds: key, spans: () => [span(line, colour)] }))
}

/** A word longer than the line, as paths are, in pieces: the exact text is what was asked for. */
function broken(line: string, width: number): string[] {
  const room = Math.max(width, DETAIL_INDENT.length + 4)
  const pieces: string[] = []
  for (let rest = line; rest !== '';) {
    const whole = cutEnd(rest, room)
    if (whole === rest) return [...pieces, rest]
    const piece = whole.slice(0, -1)
    pieces.push(piece)
    rest = DETAIL_INDENT + rest.slice(piece.length)
  }
  return pieces
}
