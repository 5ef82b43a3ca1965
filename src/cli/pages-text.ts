/** A report of pages as lines for people. Counts are of pages. */
import { pageRanges, type MappingPages, type PageCounts, type PageRanges, type PagesReport, type PageStateName } from '../index.ts'
import { formatTable, type Align, type painter } from './table.ts'
import { formatBytes } from './units.ts'

type Paint = ReturnType<typeof painter>
type CountName = Exclude<keyof PageCounts, 'pages'>

/** In the order of the columns; the first and `hole` are always there, the others where any page is one. */
const COLUMNS: readonly (readonly [title: string, name: CountName])[] = [
  ['MAPPED', 'mappedPages'], ['ANON', 'anonPages'], ['FILE', 'filePages'], ['HUGE', 'hugePages'], ['WRITTEN', 'writtenPages'], ['ZERO', 'zeroPages'],
  ['CACHED', 'cachedPages'], ['SWAPPED', 'swappedPages'], ['FALLOCATED', 'fallocatedPages'], ['HOLE', 'holePages'], ['UNCACHED', 'uncachedPages'],
  ['GUARD', 'guardPages'], ['POISONED', 'poisonedPages'], ['PASTEND', 'pastEndPages'], ['UNKNOWN', 'unknownPages'],
]
const ALWAYS = new Set<CountName>(['mappedPages', 'holePages'])

/** A sign for each state, as mappings are drawn. Mapped pages that were written are `+`. */
const SIGNS: Readonly<Record<PageStateName, string>> = {
  mapped: '=', zero: '0', cached: 'c', swapped: 's', fallocated: 'f', hole: '-', uncached: 'u', guard: 'g', poisoned: 'p', pastEnd: '.', special: 'x', unknown: '?',
}
const WRITTEN_SIGN = '+'
const LINE_CELLS = 64
const CELLS_MAX = 16 * LINE_CELLS

export function* formatMappings(report: PagesReport, paint: Paint): Generator<string> {
  const columns = columnsOf(report.total)
  const head = ['START', 'SIZE', 'PERMS', 'KIND', 'TRACKER', ...columns.map(([title]) => title), 'PATH']
  const align: Align[] = ['left', 'right', 'left', 'left', 'left', ...columns.map((): Align => 'right'), 'left']
  const rows = report.mappings.map((mapping) => [
    shortAddress(mapping.start), formatBytes(mapping.pages * report.pageBytes), mapping.perms, mapping.kind, mapping.tracker,
    ...cells(mapping, columns), printable(mapping.path),
  ])
  const total = ['total', formatBytes(report.total.pages * report.pageBytes), '', '', '', ...cells(report.total, columns), '']
  yield title(report)
  yield* withBoldHead(formatTable([head, ...rows, total], align), paint)
}

export function* formatSummary(report: PagesReport, paint: Paint): Generator<string> {
  const columns = columnsOf(report.total)
  const row = (name: string, counts: PageCounts): string[] => [name, formatBytes(counts.pages * report.pageBytes), ...cells(counts, columns)]
  const rows = Object.entries(report.byKind).map(([kind, counts]) => row(kind, counts))
  yield title(report)
  yield* withBoldHead(formatTable([['KIND', 'SIZE', ...columns.map(([title]) => title)], ...rows, row('total', report.total)],
    ['left', 'right', ...columns.map((): Align => 'right')]), paint)
}

/** One mapping: its counts in words, a drawing, its ranges. */
export function* formatMapping(mapping: MappingPages, report: PagesReport, paint: Paint): Generator<string> {
  yield paint('bold', `${shortAddress(mapping.start)}-${shortAddress(mapping.end)} ${mapping.perms} ${printable(mapping.path)}`.trimEnd())
  yield `${mapping.kind}, ${mapping.pages} pages of ${formatBytes(report.pageBytes)}; tracker ${mapping.tracker}${mapping.trackerWhy === undefined ? '' : ` (${mapping.trackerWhy})`}`
  yield columnsOf(mapping).filter(([, name]) => (mapping[name] ?? 0) > 0).map(([title, name]) => `${mapping[name]} ${title.toLowerCase()}`).join(', ')
  if (mapping.ranges === undefined) return
  yield ''
  yield* drawRanges(mapping, mapping.ranges, report.pageBytes)
  yield ''
  yield paint('bold', `${'START'.padEnd(18)}  ${'END'.padEnd(18)}  ${'PAGES'.padStart(10)}  STATE`)
  for (const { start, end, state, file, huge, written } of pageRanges(mapping.ranges)) {
    const traits = [state, ...(file ? ['file'] : []), ...(huge ? ['huge'] : []), ...(written ? ['written'] : [])].join(', ')
    yield `${hex(start).padEnd(18)}  ${hex(end).padEnd(18)}  ${String(Number(end - start) / report.pageBytes).padStart(10)}  ${traits}`
  }
  yield ''
}

/**
 * A sign for each page: `==++--ss`. Of a large mapping each sign stands for as many pages as it takes, and is the commonest of them that is no hole.
 */
function* drawRanges(mapping: MappingPages, ranges: PageRanges, pageBytes: number): Generator<string> {
  const cellPages = Math.ceil(mapping.pages / CELLS_MAX)
  const { line, used } = drawCells(mapping, ranges, cellPages, pageBytes)
  for (let at = 0; at < line.length; at += LINE_CELLS) yield `  ${line.slice(at, at + LINE_CELLS)}`
  const legend = [...Object.entries(SIGNS).map(([state, sign]) => [sign, state]), [WRITTEN_SIGN, 'mapped and written']]
  yield `  ${cellPages > 1 ? `a sign for ${cellPages} pages: ` : ''}${legend.filter(([sign]) => used.has(sign!)).map(([sign, state]) => `${sign} ${state}`).join('  ')}`
}

function drawCells(mapping: MappingPages, ranges: PageRanges, cellPages: number, pageBytes: number): { readonly line: string; readonly used: ReadonlySet<string> } {
  const origin = BigInt(mapping.start)
  const signs: string[] = []
  const counts = new Map<string, number>()
  const close = (cell: number): void => {
    const something = [...counts].filter(([sign]) => sign !== SIGNS.hole).toSorted((a, b) => b[1] - a[1])[0]
    signs[cell] = something?.[0] ?? SIGNS.hole
    counts.clear()
  }
  let cell = 0
  for (const { start, end, state, written } of pageRanges(ranges)) {
    const sign = state === 'mapped' && written ? WRITTEN_SIGN : SIGNS[state]
    const last = Number(end - origin) / pageBytes
    for (let page = Number(start - origin) / pageBytes; page < last;) {
      if (Math.floor(page / cellPages) !== cell) close(cell++)
      const stop = Math.min(last, (cell + 1) * cellPages)
      counts.set(sign, (counts.get(sign) ?? 0) + stop - page)
      page = stop
    }
  }
  close(cell)
  return { line: signs.join(''), used: new Set(signs) }
}

function columnsOf(counts: PageCounts): typeof COLUMNS {
  return COLUMNS.filter(([, name]) => ALWAYS.has(name) || (counts[name] ?? 0) > 0)
}

function cells(counts: PageCounts, columns: typeof COLUMNS): string[] {
  return columns.map(([, name]) => (counts[name] ?? 0) === 0 ? '-' : String(counts[name]))
}

function title({ name, pid, mappings, pageBytes }: PagesReport): string {
  return `${printable(name)} (${pid}): ${mappings.length} ${mappings.length === 1 ? 'mapping' : 'mappings'}, in pages of ${formatBytes(pageBytes)}`
}

function withBoldHead([head, ...rows]: readonly string[], paint: Paint): string[] {
  return [paint('bold', head!), ...rows]
}

function shortAddress(address: string): string {
  return hex(BigInt(address))
}

function hex(at: bigint): string {
  return `0x${at.toString(16)}`
}

/** A path may hold anything, a terminal's own commands too. */
function printable(text: string): string {
  return text.replace(/[\x00-\x1f\x7f-\x9f]/g, '?')
}
