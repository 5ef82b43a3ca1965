/**
 * What can go wrong in the world, as one typed error. Bugs are assertions; expected outcomes
 * (a mapping that cannot be registered, a page that is gone) are returned, never thrown.
 */
export type ErrorCode =
  | 'usage'
  | 'not-permitted'
  | 'unsupported'
  | 'gone'
  | 'failed'
  | 'pause-exceeded'
  | 'timed-out'
  | 'aborted'

export interface ErrorFacts {
  readonly operation?: string
  readonly pid?: number
  readonly errno?: string
  /** What the reader can do about it, as a sentence without its full stop. */
  readonly hint?: string
  readonly cause?: unknown
}

const MARK = Symbol.for('tidemark.error')

export class TidemarkError extends Error {
  override readonly name = 'TidemarkError'
  readonly code: ErrorCode
  readonly operation: string | undefined
  readonly pid: number | undefined
  readonly errno: string | undefined
  readonly hint: string | undefined
  readonly [MARK] = true

  constructor(code: ErrorCode, message: string, facts: ErrorFacts = {}) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause })
    this.code = code
    this.operation = facts.operation
    this.pid = facts.pid
    this.errno = facts.errno
    this.hint = facts.hint
  }
}

/** Recognises the error across workers and copies of the package, where `instanceof` does not. */
export function isTidemarkError(value: unknown): value is TidemarkError {
  return typeof value === 'object' && value !== null && MARK in value
}

/** A broken invariant of ours: never caught, on in production. */
export function assert(condition: unknown, why: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${why}`)
}
