import { Command } from 'commander'
import { predict, type Prediction } from '../index.ts'
import { withInterrupts } from './interrupts.ts'
import { formatTable, painter } from './table.ts'
import { formatBytes, formatDuration, parseCount, parseDuration, parsePid } from './units.ts'

interface Flags {
  readonly for: number
  readonly rounds: number
  readonly timeout?: number
  readonly json?: boolean
}

export function predictCommand(): Command {
  return new Command('predict')
    .description('Watch a process for some seconds and tell what a snapshot would cost it, by each strategy, and whether copying in rounds converges.')
    .argument('<pid>', 'the process', parsePid)
    .option('--for <time>', 'how long to watch', parseDuration, 3e9)
    .option('--rounds <n>', 'rounds of pre-copy at most', parseCount, 12)
    .option('--timeout <time>', 'give up after this long', parseDuration)
    .option('--json', 'print the findings as one JSON object on standard output')
    .addHelpText('after', `
Examples:
  tidemark predict 4242                   three seconds of watching; a table
  tidemark predict 4242 --for 30s         more certain for programs that work in bursts
  tidemark predict 4242 --json | jq .strategies.precopy.pauseNs

Watching stops the process for about a millisecond at its start and end; in between each first
write to a page costs it about a microsecond, and takes the huge page apart that it is on. Times to
save are for files in memory: a slow disk adds to them, not to the pause.`)
    .action(async (pid: number, flags: Flags) => {
      const found = await withInterrupts(flags.timeout, (signal) => predict(pid, { forNs: flags.for, roundsMax: flags.rounds, signal }))
      if (flags.json) process.stdout.write(`${JSON.stringify({ schema: 'tidemark.predict/1', ...found })}\n`)
      else process.stdout.write(`${formatPrediction(found, painter(process.stdout)).join('\n')}\n`)
    })
}

/** Lines of text. */
export function formatPrediction(found: Prediction, paint: ReturnType<typeof painter>): string[] {
  const { pid, pageBytes, population, curve, strategies } = found
  const swapped = population.swappedPages > 0 ? `, ${formatBytes(population.swappedPages * pageBytes)} of it swapped` : ''
  return [
    `Process ${pid}: ${formatBytes(population.pages * pageBytes)} to save in ${population.mappings} mappings${swapped}; watched for ${formatDuration(found.measuredNs)}`,
    '', paint('bold', 'Distinct pages written'),
    ...formatTable([['  within', 'pages', 'bytes'], ...curve.map(({ ns, pages }) => [`  ${formatDuration(ns)}`, String(Math.round(pages)), formatBytes(pages * pageBytes)])], ['left', 'right', 'right']),
    '', paint('bold', 'A snapshot now'),
    ...formatTable([['  strategy', 'pause', 'total', 'extra memory', 'written'], ...Object.entries(strategies).map(([name, forecast]) => [
      `  ${name}`, formatDuration(forecast.pauseNs), formatDuration(forecast.totalNs), formatBytes(forecast.extraMemoryBytes),
      formatBytes(forecast.writtenBytes) + (forecast.converges ? '' : '  does not converge'),
    ])], ['left', 'right', 'right', 'right', 'left']),
    '', paint('bold', 'Copying in rounds over a connection: rounds until it converges'),
    ...convergenceTable(found),
  ]
}

function convergenceTable({ convergence }: Prediction): string[] {
  const downtimes = [...new Set(convergence.map(({ downtimeNs }) => downtimeNs))]
  const bandwidths = [...new Set(convergence.map(({ bandwidthBytesPerSecond }) => bandwidthBytesPerSecond))]
  const head = ['  bandwidth', ...downtimes.map((ns) => `down ${formatDuration(ns).replace('.00', '')}`)]
  const rows = bandwidths.map((bandwidth) => [`  ${bandwidth / 1e9} GB/s`, ...downtimes.map((ns) => {
    const cell = convergence.find((row) => row.bandwidthBytesPerSecond === bandwidth && row.downtimeNs === ns)!
    return cell.converges ? `${cell.rounds} (${formatBytes(cell.sentBytes)})` : `no (${formatDuration(cell.reachedNs)})`
  })])
  return formatTable([head, ...rows], ['left', ...downtimes.map(() => 'right' as const)])
}
