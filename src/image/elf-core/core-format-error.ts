const mark = Symbol.for('tidemark.CoreFormatError')

/** The file is no core, no core of ours, or a damaged one. The message says what is wrong and where. */
export class CoreFormatError extends Error {
  readonly code = 'core-format'
  readonly [mark] = true
  /** Where in the file the trouble is. */
  readonly offset: number

  constructor(what: string, offset: number) {
    super(`${what} (at offset 0x${offset.toString(16)} of the core file)`)
    this.name = 'CoreFormatError'
    this.offset = offset
  }
}

/** By mark and not by class, so that it works across two copies of the package. */
export function isCoreFormatError(error: unknown): error is CoreFormatError {
  return typeof error === 'object' && error !== null && mark in error
}
