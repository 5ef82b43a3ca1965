import { Command } from 'commander'
import { capabilities, type Capabilities, type Capability } from '../index.ts'
import { EXIT } from './exit.ts'
import { formatTable, painter, wrapText } from './table.ts'

const GROUPS: readonly (readonly [group: Capability['group'], title: string])[] = [
  ['tracing', 'Tracing'], ['tracking', 'Tracking of writes'], ['reading', 'Reading'], ['memory', 'Memory of this machine'],
]
const FEATURE = 'userfaultfd-feature-'
const WIDTH_MAX = 110
const REMEDY_INDENT = ' '.repeat(9)

type Paint = ReturnType<typeof painter>
type Strategy = Capabilities['strategies'][number]

export function checkCommand(): Command {
  return new Command('check')
    .description('Show what this kernel, this machine and this user can do, found by trying each thing, and how to get what is missing.')
    .option('--json', 'print the findings as one JSON object on standard output')
    .addHelpText('after', `
Examples:
  tidemark check                                    a table for people
  sudo tidemark check                               what root could do
  tidemark check --json | jq '.strategies[]'        for programs

Everything is tried on memory and children of tidemark's own; no other process is touched.

Exit codes: 0 at least \`dump --strategy stop\` works, 3 nothing is permitted, 4 this kernel cannot.`)
    .action(async ({ json }: { readonly json?: boolean }) => {
      const found = await capabilities()
      if (json) process.stdout.write(`${JSON.stringify({ schema: 'tidemark.check/1', ...found })}\n`)
      else process.stdout.write(`${formatFindings(found, painter(process.stdout), Math.min(process.stdout.columns ?? WIDTH_MAX, WIDTH_MAX)).join('\n')}\n`)
      const verdict = verdictOf(found)
      if (verdict.exitCode !== EXIT.done) process.stderr.write(`tidemark: no process can be saved here: ${verdict.why}\n`)
      process.exitCode = verdict.exitCode
    })
}

/** `stop` needs least, so what stops it stops everything. */
export function verdictOf({ strategies }: Capabilities): { readonly exitCode: number; readonly why: string } {
  const stop = strategies.find(({ strategy }) => strategy === 'stop')
  if (stop === undefined || strategies.some(({ available }) => available)) return { exitCode: EXIT.done, why: '' }
  const codes = { 'none': EXIT.done, 'not-permitted': EXIT.notPermitted, 'unsupported': EXIT.unsupported, 'failed': EXIT.failed }
  return { exitCode: codes[stop.obstacle], why: stop.why }
}

/** Lines of text, at most `width` wide where that can be. */
export function formatFindings(found: Capabilities, paint: Paint, width: number): string[] {
  const { kernel, machine, pageBytes, user } = found
  const lines = [`Linux ${kernel} on ${machine}, ${pageBytes / 1024} KiB pages, as ${user}`]
  for (const [group, title] of GROUPS) {
    const members = found.capabilities.filter((capability) => capability.group === group && !capability.name.startsWith(FEATURE))
    const rows: Row[] = members.map(({ title, ...rest }) => ({ label: title, ...rest }))
    if (group === 'tracking') rows.push(featureRow(found.capabilities))
    lines.push('', paint('bold', title), ...withRemedies(rows, paint, width))
  }
  lines.push('', paint('bold', 'Trackers of writes'))
  lines.push(...withRemedies(found.trackers.map(({ tracker, why, ...rest }) => ({ label: tracker, detail: why, ...rest })), paint, width))
  lines.push('', paint('bold', 'Strategies of dump'))
  lines.push(...withRemedies(found.strategies.map(({ strategy, why, ...rest }: Strategy) => ({ label: strategy, detail: why, ...rest })), paint, width))
  return lines
}

interface Row {
  readonly label: string
  readonly available: boolean
  readonly detail: string
  readonly remedy: string
}

function withRemedies(rows: readonly Row[], paint: Paint, width: number): string[] {
  const table = formatTable(rows.map(({ label, available, detail }) => [available ? paint('green', '  yes') : paint('red', '  no '), label, detail]))
  return table.flatMap((line, i) => {
    const { remedy } = rows[i]!
    return remedy === '' ? [line] : [line, ...wrapText(remedy, width, REMEDY_INDENT).map((text) => paint('dim', text))]
  })
}

/** Nineteen lines would hide the rest, so the features share one, and each missing one has its remedy. */
function featureRow(all: readonly Capability[]): Row {
  const features = all.filter(({ name }) => name.startsWith(FEATURE))
  const missing = features.filter(({ available }) => !available)
  const remedies = new Map<string, string[]>()
  for (const { title, remedy } of missing) remedies.set(remedy, [...(remedies.get(remedy) ?? []), title.replace('userfaultfd feature ', '')])
  const available = missing.length < features.length
  return {
    label: 'userfaultfd features', available,
    detail: available ? `${features.length - missing.length} of ${features.length}` : missing[0]?.detail ?? '',
    remedy: [...remedies].map(([remedy, names]) => (available ? `without ${names.join(', ')} ${remedy}` : remedy)).join('. '),
  }
}
