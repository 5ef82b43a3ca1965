import { basename } from 'node:path'
import { statSync } from 'node:fs'
import { Command, Option } from 'commander'
import { dump, FilterBit, TidemarkError, type DumpOptions, type DumpResult, type Unproven } from '../index.ts'
import { EXIT } from './exit.ts'
import { withInterrupts } from './interrupts.ts'
import { progressLine } from './progress.ts'
import { formatBytes, formatDuration, parseBits, parseCount, parseDuration, parsePid } from './units.ts'

interface Flags {
  readonly output?: string
  readonly force?: boolean
  readonly strategy: 'auto' | 'stop' | 'fork' | 'precopy'
  readonly maxPause?: number
  readonly onPauseExceeded: 'abort' | 'proceed'
  readonly rounds: number
  readonly filter?: number
  readonly dontdump?: boolean
  readonly preserveWorkingSet?: boolean
  readonly freezeTimeout: number
  readonly timeout?: number
  readonly json?: boolean
  readonly tree?: boolean
  readonly [filter: string]: unknown
}

/** `--no-…` flags, the bit of coredump_filter each takes out, and what it is. */
const FILTERS = [
  ['anon-private', FilterBit.anonymousPrivate, 'heap, stacks and other private memory'],
  ['anon-shared', FilterBit.anonymousShared, 'shared memory without a file: memfd, shm, MAP_SHARED|MAP_ANONYMOUS'],
  ['file-private', FilterBit.filePrivate, 'private file mappings that the program has not written'],
  ['file-shared', FilterBit.fileShared, 'shared file mappings'],
  ['elf-headers', FilterBit.elfHeaders, 'the first page of each mapped program and library (debuggers use it)'],
  ['hugetlb-private', FilterBit.hugetlbPrivate, 'private hugetlb pages'],
  ['hugetlb-shared', FilterBit.hugetlbShared, 'shared hugetlb pages'],
] as const

export function dumpCommand(): Command {
  const command = new Command('dump')
    .description('Save a running process as a core file for gdb and lldb, stopping it for milliseconds only.')
    .argument('<pid>', 'the process', parsePid)
    .option('-o, --output <name>', 'the file to write: NAME.EXT is the file itself; a bare NAME is a prefix, as in gcore, for NAME.PID; - is standard output (default: core.PID)')
    .option('--force', 'replace the file if it exists')
    .addOption(new Option('--strategy <name>', 'how to get one instant').choices(['auto', 'stop', 'fork', 'precopy']).default('auto'))
    .option('--max-pause <time>', 'how long the target may stand still, such as 5ms; if no strategy keeps it, the target is not stopped', parseDuration)
    .addOption(new Option('--on-pause-exceeded <what>', 'when --max-pause cannot be kept').choices(['abort', 'proceed']).default('abort'))
    .option('--rounds <n>', 'rounds of pre-copy at most: more work, shorter pause', parseCount, 12)
    .option('--filter <hex>', 'which mappings, as bits of /proc/PID/coredump_filter (default: the process\'s own)', parseBits)
  for (const [name, , what] of FILTERS) command.option(`--no-${name}`, `leave out ${what}`)
  return command
    .option('--dontdump', 'save what the program marked with MADV_DONTDUMP too')
    .option('--preserve-working-set', 'page out again what was in swap before it was read; fail where that is not permitted')
    .option('--no-preserve-working-set', 'leave it in memory (default: page it out where that is permitted)')
    .option('--freeze-timeout <time>', 'how long to wait for the last thread to stop', parseDuration, 1e9)
    .option('--timeout <time>', 'give up after this long', parseDuration)
    .addOption(new Option('--tree', 'reserved: a process and its children as one instant').hideHelp())
    .option('--json', 'print the result as one JSON object on standard output')
    .addHelpText('after', `
Examples:
  tidemark dump 4242 -o app.core                    save it; the target runs on
  tidemark dump 4242 -o app.core --max-pause 5ms    only if it stands still for 5 ms at most
  tidemark dump 4242 -o - | zstd > app.core.zst     to a pipe
  tidemark dump 4242 --strategy fork --json         by a copy the kernel makes; result as JSON

Strategies: stop copies while the target stands still; fork saves a copy-on-write copy of it;
precopy copies while it runs and stops it for what it wrote meanwhile; auto measures and chooses.`)
    .action(run)
}

async function run(pid: number, flags: Flags): Promise<void> {
  if (flags.tree) throw new TidemarkError('usage', '--tree is reserved: a process tree cannot be saved as one instant yet', { hint: 'dump each process' })
  const output = outputName(flags.output, pid)
  if (output === '-' && flags.json) throw new TidemarkError('usage', '--json and -o - both want standard output', { hint: 'write to a file' })
  const progress = progressLine()
  const options: DumpOptions = {
    output, strategy: flags.strategy, onPauseExceeded: flags.onPauseExceeded, roundsMax: flags.rounds, freezeTimeoutNs: flags.freezeTimeout,
    replace: flags.force ?? false, dontDumpToo: flags.dontdump ?? false, filterWithout: filterWithout(flags), onEvent: progress.show,
    ...(flags.maxPause !== undefined && { pauseNsMax: flags.maxPause }), ...(flags.filter !== undefined && { filter: flags.filter }),
    ...(flags.preserveWorkingSet !== undefined && { preserveWorkingSet: flags.preserveWorkingSet }),
  }
  try {
    const result = await withInterrupts(flags.timeout, (signal) => dump(pid, { ...options, signal }))
    progress.end()
    report(result, flags.json ?? false)
  } finally {
    progress.end()
  }
}

/** gcore's users give a prefix, others a file: a name with an extension is a file. */
function outputName(given: string | undefined, pid: number): string {
  if (given === '') throw new TidemarkError('usage', 'the output has no name', { hint: 'name a file, or - for standard output' })
  if (given === undefined) return `core.${pid}`
  if (given === '-' || basename(given).includes('.', 1)) return given
  const isNode = statSync(given, { throwIfNoEntry: false })
  return isNode !== undefined && !isNode.isFile() ? given : `${given}.${pid}`
}

function filterWithout(flags: Flags): number {
  return FILTERS.reduce((bits, [name, bit]) => {
    const key = name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())
    return flags[key] === false ? bits | bit : bits
  }, 0)
}

function report(result: DumpResult, json: boolean): void {
  const warnings = result.unproven.map(describeUnproven)
  if (result.pauseExceeded) warnings.push(`the pause was ${formatDuration(result.pauseNs)}, longer than allowed`)
  if (json) process.stdout.write(`${JSON.stringify(toJson(result, warnings))}\n`)
  else {
    const { strategy, pauseNs, totalNs, writtenBytes, capturedPages, threads } = result
    process.stderr.write(`Saved process ${result.pid} by ${strategy}: pause ${formatDuration(pauseNs)}, total ${formatDuration(totalNs)}, `
      + `${capturedPages} pages, ${formatBytes(writtenBytes)} written, ${threads} ${threads === 1 ? 'thread' : 'threads'}.\n`)
    for (const warning of warnings) process.stderr.write(`Warning: ${warning}\n`)
    if (result.file !== '-') process.stdout.write(`${result.file}\n`)
  }
  if (result.pauseExceeded) process.exitCode = EXIT.pauseExceeded
  else if (result.consistency === 'unproven') process.exitCode = EXIT.unproven
}

function describeUnproven({ mapping, why }: Unproven): string {
  if (mapping === undefined) return `consistency unproven: ${why}`
  return `consistency unproven for ${mapping.start}-${mapping.end} ${mapping.path || 'anonymous memory'}: ${why}`
}

/** tidemark.dump/1: field names are a contract. */
function toJson(result: DumpResult, warnings: readonly string[]): object {
  return { schema: 'tidemark.dump/1', ...result, warnings }
}
