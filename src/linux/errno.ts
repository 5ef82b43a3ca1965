import { constants } from 'node:os'
import { TidemarkError, type ErrorCode, type ErrorFacts } from '../kernel/errors.ts'

const NAMES = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]))

export const errno = constants.errno

/** `ESRCH` for 3; a number the table lacks stays a number. */
export function errnoName(number: number): string {
  return NAMES.get(Math.abs(number)) ?? `errno ${Math.abs(number)}`
}

const CODES: Record<string, ErrorCode> = { ESRCH: 'gone', ECHILD: 'gone', EPERM: 'not-permitted', EACCES: 'not-permitted', ENOSYS: 'unsupported' }

/** The error for a system call that returned `result` where success was expected. */
export function callFailed(operation: string, result: number, facts: ErrorFacts = {}): TidemarkError {
  const name = errnoName(result)
  return new TidemarkError(CODES[name] ?? 'failed', `${operation}: ${name}`, { operation, errno: name, ...facts })
}
