import { once } from 'node:events'
import { Command, InvalidArgumentError } from 'commander'
import { pageRanges, pages, type MappingChoice, type MappingPages, type PagesReport } from '../index.ts'
import { withInterrupts } from './interrupts.ts'
import { formatMapping, formatMappings, formatSummary } from './pages-text.ts'
import { painter } from './table.ts'
import { parsePid } from './units.ts'

interface Flags {
  readonly mapping?: MappingChoice
  readonly summary?: boolean
  readonly json?: boolean
}

export function pagesCommand(): Command {
  return new Command('pages')
    .description('Show what every page of a process is (in memory, in swap, cached, a hole …), without stopping it or touching a page.')
    .argument('<pid>', 'the process', parsePid)
    .option('--mapping <which>', 'one mapping by an address in it, or all of a path, with the ranges of each state', parseChoice)
    .option('--summary', 'sums by kind of memory only')
    .option('--json', 'print one JSON object on standard output, with the ranges if --mapping is given')
    .addHelpText('after', `
Examples:
  tidemark pages 4242                               a line for each mapping
  tidemark pages 4242 --summary                     how much is in memory, in swap, only cached …
  tidemark pages 4242 --mapping '[heap]'            the heap's ranges, with a drawing
  tidemark pages 4242 --mapping 0x7f3a5c021000      the mapping that holds this address
  tidemark pages 4242 --json | jq .total            for programs

Each page is one of: mapped (resident), zero (the shared page of zeros), cached (in memory but not
mapped here), swapped (shared memory too), fallocated (shared memory reserved and never written),
hole, uncached (in its file only), guard, poisoned, pastEnd (of the file), special (the kernel's
own), unknown. The tracker is the best way in which its writes could be followed.`)
    .action(run)
}

/** As in /proc/PID/maps: an address, a range of which the start counts, or a path. */
function parseChoice(text: string): MappingChoice {
  if (/^(\/|\[|anon_inode:)/.test(text)) return { kind: 'path', path: text }
  const match = /^(?:0x)?([0-9a-f]{1,16})(?:-(?:0x)?[0-9a-f]+)?$/i.exec(text)
  if (match === null) throw new InvalidArgumentError('give an address in hexadecimal, a path, or a name such as [heap].')
  return { kind: 'address', address: BigInt(`0x${match[1]!}`) }
}

async function run(pid: number, flags: Flags): Promise<void> {
  const report = await withInterrupts(undefined, (signal) =>
    pages(pid, { signal, ...(flags.mapping !== undefined && { only: flags.mapping, ranges: flags.summary !== true }) }))
  if (flags.json) await print([JSON.stringify(toJson(report))])
  else await print(toText(report, flags))
  for (const warning of warningsOf(report)) process.stderr.write(`Warning: ${warning}\n`)
}

function* toText(report: PagesReport, flags: Flags): Generator<string> {
  const paint = painter(process.stdout)
  if (flags.summary) yield* formatSummary(report, paint)
  else if (flags.mapping === undefined) yield* formatMappings(report, paint)
  else for (const mapping of report.mappings) yield* formatMapping(mapping, report, paint)
}

/** A million ranges are not held as one text. */
async function print(lines: Iterable<string>): Promise<void> {
  let piece = ''
  for (const line of lines) {
    piece += `${line}\n`
    if (piece.length < 1 << 16) continue
    if (!process.stdout.write(piece)) await once(process.stdout, 'drain')
    piece = ''
  }
  process.stdout.write(piece)
}

function warningsOf(report: PagesReport): string[] {
  const pagesByWhy = new Map<string, number>()
  for (const { untold, unknownPages } of report.mappings) if (untold !== undefined) pagesByWhy.set(untold, (pagesByWhy.get(untold) ?? 0) + unknownPages)
  return [...report.warnings, ...[...pagesByWhy].map(([why, count]) => `${count} ${count === 1 ? 'page' : 'pages'} could not be told: ${why}`)]
}

/** tidemark.pages/1: field names are a contract. */
function toJson(report: PagesReport): object {
  return { schema: 'tidemark.pages/1', ...report, mappings: report.mappings.map(mappingToJson) }
}

function mappingToJson({ ranges, ...mapping }: MappingPages): object {
  if (ranges === undefined) return mapping
  const hex = (at: bigint): string => `0x${at.toString(16).padStart(16, '0')}`
  return { ...mapping, ranges: [...pageRanges(ranges)].map(({ start, end, ...rest }) => ({ start: hex(start), end: hex(end), ...rest })) }
}
