import { CoreFormatError } from './core-format-error.ts'

/** A core file to read from. `read` may return fewer bytes than asked for when the file has shrunk. */
export interface CoreSource {
  readonly bytes: number
  read(offset: number, length: number): Uint8Array
}

/** Reads all of a range or throws. The check against the file's size comes before anything is allocated. */
export function readExactly(source: CoreSource, offset: number, length: number, what: string): Uint8Array {
  if (offset + length > source.bytes) {
    throw new CoreFormatError(`${what} should take ${length} bytes, but the file ends at 0x${source.bytes.toString(16)}`, offset)
  }
  const bytes = source.read(offset, length)
  if (bytes.length !== length) throw new CoreFormatError(`${what}: ${length} bytes asked for, ${bytes.length} could be read`, offset)
  return bytes
}

const WINDOW_BYTES = 256 * 1024

/** Reads small things that lie next to each other with few reads of the file. */
export class WindowedSource {
  readonly #source: CoreSource
  #start = 0
  #window: Uint8Array = new Uint8Array(0)

  constructor(source: CoreSource) {
    this.#source = source
  }

  /** The result is a view that may share memory with later results: copy what is to be kept. */
  read(offset: number, length: number, what: string): Uint8Array {
    const from = offset - this.#start
    if (from >= 0 && from + length <= this.#window.length) return this.#window.subarray(from, from + length)
    const windowBytes = Math.max(length, Math.min(WINDOW_BYTES, this.#source.bytes - offset))
    this.#window = readExactly(this.#source, offset, windowBytes, what)
    this.#start = offset
    return this.#window.subarray(0, length)
  }
}
