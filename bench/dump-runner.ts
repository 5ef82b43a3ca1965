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

let peakBytes = 0
const [pid = '', output = '', strategy = 'auto', rounds] = process.argv.slice(2)

async function run(): Promise<RunnerReport> {
  const options: DumpOptions = {
    output, strategy: strategy as NonNullable<DumpOptions['strategy']>, onEvent: noteMemory,
    ...(rounds === undefined ? {} : { roundsMax: Number(rounds) }),
  }
  try {
    const result = await dump(Number(pid), options)
    return { kind: 'done', result, peakBytes }
  } catch (error) {
    if (isTidemarkError(error)) return { kind: 'failed', code: error.code, message: error.hint === undefined ? error.message : `${error.message}; ${error.hint}` }
    return { kind: 'failed', code: 'bug', message: error instanceof Error ? error.stack ?? error.message : String(error) }
  }
}

/** What we and the engine, which is our child, have resident; pages that both map count once. */
function noteMemory(): void {
  const engines = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)
  peakBytes = Math.max(peakBytes, [process.pid, ...engines].reduce((bytes, id) => bytes + residentBytes(id), 0))
}

function residentBytes(id: number): number {
  try {
    return Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${id}/smaps_rollup`, 'utf8'))?.[1] ?? 0) * 1024
  } catch {
    return 0 // It has ended.
  }
}

console.log(JSON.stringify(await run()))
