import { isTidemarkError, type ErrorCode } from '../index.ts'

/** The exit codes of every command; a contract. */
export const EXIT = { done: 0, failed: 1, usage: 2, notPermitted: 3, unsupported: 4, gone: 5, unproven: 6, pauseExceeded: 7, timedOut: 124, interrupted: 130, terminated: 143 } as const

const BY_CODE: Readonly<Record<ErrorCode, number>> = {
  'usage': EXIT.usage,
  'not-permitted': EXIT.notPermitted,
  'unsupported': EXIT.unsupported,
  'gone': EXIT.gone,
  'failed': EXIT.failed,
  'pause-exceeded': EXIT.pauseExceeded,
  'timed-out': EXIT.timedOut,
  'aborted': EXIT.interrupted,
}

export function exitCodeOf(error: unknown): number {
  return isTidemarkError(error) ? BY_CODE[error.code] : EXIT.failed
}

/** One line: what, why, what to do. A bug of ours shows its stack instead. */
export function printError(error: unknown): void {
  if (isTidemarkError(error)) {
    process.stderr.write(`tidemark: ${error.message}${error.hint === undefined ? '' : ` (${error.hint})`}\n`)
  } else {
    process.stderr.write(`tidemark: internal error, please report it: ${error instanceof Error ? error.stack : String(error)}\n`)
  }
}
