import { TidemarkError } from '../index.ts'
import { EXIT } from './exit.ts'

/**
 * Ctrl-C and SIGTERM give up in good order: the target runs on, no file is left. A second one ends us at once,
 * which the target survives as well. Afterwards the exit code tells which it was.
 */
export async function withInterrupts<T>(timeoutNs: number | undefined, body: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController()
  let exitCode: number | undefined
  let finished = false
  const onSignal = (name: NodeJS.Signals): void => {
    // What comes when the work is done has nothing left to break off.
    if (finished) process.exit()
    const code = name === 'SIGTERM' ? EXIT.terminated : EXIT.interrupted
    if (exitCode !== undefined) process.exit(code)
    exitCode = code
    controller.abort()
  }
  const timer = timeoutNs === undefined ? undefined : setTimeout(() => {
    exitCode = EXIT.timedOut
    controller.abort()
  }, timeoutNs / 1e6)
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal)
  try {
    return await body(controller.signal)
  } catch (error) {
    if (exitCode === undefined || !controller.signal.aborted) throw error
    if (exitCode === EXIT.timedOut) throw new TidemarkError('timed-out', 'timed out; the target runs on', { hint: 'allow more with --timeout' })
    process.stderr.write('tidemark: interrupted; the target runs on, no file was left\n')
    process.exit(exitCode)
  } finally {
    finished = true
    clearTimeout(timer)
  }
}
