/**
 * `tidemark top` with a watch that plays a part instead of looking: what the terminal shows does not depend on a kernel then.
 * Processes by number: 1… write steadily; 600… are gone at the third look, 700… never were; 800… execute at the second;
 * at 900 the engine fails at the second look, at 901 there is a bug of ours; at 902 a look never ends.
 */
import { TidemarkError, type WatchOutcome } from 'tidemark'
import { exitCodeOf, printError } from '#dist/cli/exit.js'
import { topCommand } from '#dist/cli/top.js'
import { watchSample } from '#dist/cli/top-samples.test.js'
import type { Looking } from '#dist/cli/top-pace.js'

class Rehearsal implements Looking, AsyncDisposable {
  readonly #looks = new Map<number, number>()

  look(pid: number): Promise<WatchOutcome> {
    const look = (this.#looks.get(pid) ?? 0) + 1
    this.#looks.set(pid, look)
    if (pid >= 700 && pid < 800) return Promise.resolve({ kind: 'gone', pid })
    if (pid >= 600 && pid < 700 && look >= 3) return Promise.resolve({ kind: 'gone', pid })
    if (pid >= 800 && pid < 900 && look === 2) return Promise.resolve({ kind: 'executed', pid, name: 'another' })
    if (pid === 900 && look === 2) return Promise.reject(new TidemarkError('failed', 'the engine ended (SIGKILL); the target runs on'))
    if (pid === 901 && look === 2) setImmediate(() => { throw new Error('a bug of ours') })
    if (pid === 902) return new Promise(() => {})
    return Promise.resolve({ kind: 'sample', sample: watchSample({ pid, name: `part-${pid}`, writtenPagesPerSecond: 1000 * look, nextAfterNs: 0 }) })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (process.env['REHEARSAL_TOLD'] === '1') process.stderr.write('the watch was let go\n')
  }
}

process.stdout.on('error', () => process.exit(0))
try {
  await topCommand(async () => new Rehearsal()).exitOverride().parseAsync(process.argv)
} catch (error) {
  printError(error)
  process.exitCode = exitCodeOf(error)
}
