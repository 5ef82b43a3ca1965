/**
 * dump-runner PID FILE STRATEGY [ROUNDS]
 *
 * One dump in a process of its own, as a user's program would make it: what it costs is not mixed with the bench.
 * Prints one line of JSON.
 */
import { readFileSync } from 'node:fs'
import { dump, isTidemarkError, type DumpOptions, type DumpResult, type ErrorCode } from 'tidemark'

export type RunnerReport =
  | { readonly kind: 'done'; readonly result: DumpResult; readonly peakBytes: number }
  | { readonly kind: 'failed'; readonly code: ErrorCode | 'bug'; readonly message: string }

const [pid = '', output = '', strategy = 'auto', rounds] = process.argv.slice(2)

async function run(): Promise<RunnerReport> {
  const options: DumpOptions = {
    output, strategy: strategy as NonNullable<DumpOptions['strategy']>,
    ...(rounds === undefined ? {} : { roundsMax: Number(rounds) }),
  }
  try {
    const result = await dump(Number(pid), options)
    return { kind: 'done', result, peakBytes: residentPeakBytes() }
  } catch (error) {
    if (isTidemarkError(error)) return { kind: 'failed', code: error.code, message: error.hint === undefined ? error.message : `${error.message}; ${error.hint}` }
    return { kind: 'failed', code: 'bug', message: error instanceof Error ? error.stack ?? error.message : String(error) }
  }
}

/** The most memory this process ever had resident. */
function residentPeakBytes(): number {
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? 0) * 1024
}

console.log(JSON.stringify(await run()))
