/** The table of mappings: its columns, which of them fit, and its order. */
import type { MappingSample } from '../index.ts'
import { sparkline } from './sparkline.ts'
import { span, type Span } from './styled-line.ts'
import type { Align, Colour } from './table.ts'
import { cutEnd, cutMiddle, padCells, printable } from './text-width.ts'
import { TREND_LENGTH } from './top-state.ts'
import type { SortKey } from './top-keys.ts'
import { formatBytesShort } from './units.ts'

export interface MappingRow {
  readonly mapping: MappingSample
  readonly pageBytes: number
  readonly trend: readonly number[]
}

interface Column {
  readonly title: string
  readonly width: number
  readonly align: Align
  readonly cell: (row: MappingRow, width: number) => string
  readonly sort?: SortKey
  readonly colour?: Colour
}

const PATH_WIDTH_MIN = 14
const TREND_WIDTH_MIN = 8
/** A wide terminal has its trends long; this much is left to the path. */
const PATH_WIDTH_WIDE = 30

export const COLUMN = {
  address: { title: 'ADDRESS', width: 12, align: 'left', cell: ({ mapping }) => shortAddress(mapping.start), sort: 'address' },
  permissions: { title: 'PERM', width: 4, align: 'left', cell: ({ mapping }) => mapping.permissions },
  resident: { title: 'RSS', width: 5, align: 'right', cell: ({ mapping, pageBytes }) => formatBytesShort(mapping.residentPages * pageBytes), sort: 'resident' },
  written: { title: 'WRITE/S', width: 7, align: 'right', cell: ({ mapping, pageBytes }) => formatBytesShort(mapping.writtenPagesPerSecond * pageBytes), sort: 'written' },
  in1s: { title: 'IN 1s', width: 5, align: 'right', cell: ({ mapping, pageBytes }) => formatBytesShort(mapping.workingSet.in1sPages * pageBytes) },
  in10s: { title: 'IN 10s', width: 6, align: 'right', cell: ({ mapping, pageBytes }) => formatBytesShort(mapping.workingSet.in10sPages * pageBytes), sort: 'set' },
  in60s: { title: 'IN 60s', width: 6, align: 'right', cell: ({ mapping, pageBytes }) => formatBytesShort(mapping.workingSet.in60sPages * pageBytes) },
  trend: { title: 'TREND', width: TREND_WIDTH_MIN, align: 'right', cell: ({ trend }, width) => sparkline(trend, width), colour: 'green' },
  tracker: { title: 'TRACKER', width: 10, align: 'left', cell: ({ mapping }) => mapping.tracker },
  blind: { title: '!', width: 1, align: 'left', cell: ({ mapping }) => (mapping.blindSpots.length > 0 ? '!' : ''), colour: 'yellow' },
  path: { title: 'PATH', width: PATH_WIDTH_MIN, align: 'left', cell: ({ mapping }) => mapping.path || '(anonymous)', sort: 'path' },
} as const satisfies Readonly<Record<string, Column>>

export type ColumnName = keyof typeof COLUMN

const ORDER = Object.keys(COLUMN) as ColumnName[]
/** Who comes first when there is not room for all. */
const IMPORTANCE: readonly ColumnName[] = ['path', 'written', 'resident', 'blind', 'in10s', 'trend', 'address', 'permissions', 'in1s', 'in60s', 'tracker']

export interface Layout {
  readonly columns: readonly { readonly name: ColumnName; readonly width: number }[]
}

/** The columns that fit side by side, in their order; what room is left is the path's, and some the trend's. */
export function layOut(width: number): Layout {
  const widths = new Map<ColumnName, number>(ORDER.map((name) => [name, COLUMN[name].width]))
  const chosen = new Set<ColumnName>()
  let left = width + 1
  for (const name of IMPORTANCE) {
    if (widths.get(name)! + 1 > left && chosen.size > 0) break
    chosen.add(name)
    left -= widths.get(name)! + 1
  }
  if (chosen.has('trend')) {
    const longer = Math.max(0, Math.min(TREND_LENGTH - TREND_WIDTH_MIN, left - (PATH_WIDTH_WIDE - PATH_WIDTH_MIN)))
    widths.set('trend', TREND_WIDTH_MIN + longer)
    left -= longer
  }
  widths.set('path', Math.max(1, PATH_WIDTH_MIN + left))
  return { columns: ORDER.filter((name) => chosen.has(name)).map((name) => ({ name, width: widths.get(name)! })) }
}

export function titleSpans({ columns }: Layout, sort: SortKey): Span[] {
  return columns.flatMap(({ name, width }, i) => {
    const column: Column = COLUMN[name]
    const text = padCells(cutEnd(column.title, width), width, column.align)
    return [span(i === 0 ? '' : ' '), span(text, column.sort === sort ? 'bold' : 'dim')]
  })
}

export function rowSpans({ columns }: Layout, row: MappingRow): Span[] {
  return columns.flatMap(({ name, width }, i) => {
    const column: Column = COLUMN[name]
    const text = printable(column.cell(row, width))
    const shown = name === 'path' ? cutMiddle(text, width) : cutEnd(text, width)
    return [span(i === 0 ? '' : ' '), span(padCells(shown, width, column.align), column.colour)]
  })
}

/** Greatest first; addresses and paths from the least. Equals stay in the order of their addresses. */
export function sortMappings(mappings: readonly MappingSample[], by: SortKey, reversed: boolean): readonly MappingSample[] {
  const sorted = mappings.toSorted(COMPARE[by])
  return reversed ? sorted.toReversed() : sorted
}

const COMPARE: Readonly<Record<SortKey, (a: MappingSample, b: MappingSample) => number>> = {
  written: (a, b) => b.writtenPagesPerSecond - a.writtenPagesPerSecond || b.workingSet.in60sPages - a.workingSet.in60sPages || b.residentPages - a.residentPages,
  resident: (a, b) => b.residentPages - a.residentPages,
  set: (a, b) => b.workingSet.in10sPages - a.workingSet.in10sPages || b.workingSet.in60sPages - a.workingSet.in60sPages,
  address: (a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0),
  path: (a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0),
}

/** For the eye: without `0x` and the zeros in front that addresses of programs have. [vsyscall] has none, and is cut. */
function shortAddress(address: string): string {
  return address.replace(/^0x0{0,4}/, '')
}
