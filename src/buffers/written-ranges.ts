import { assert } from '../kernel/errors.ts'

/** Bytes of a buffer from `start` up to, not including, `end`. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

/** Which bytes of a buffer were written: ascending ranges of whole pages, as far as these lie within the buffer. */
export class WrittenRanges implements Iterable<ByteRange> {
  /** Two offsets for each range: where it starts and where it ends. */
  readonly offsets: Float64Array
  /** How many bytes they hold together. */
  readonly bytes: number

  /** @internal */
  constructor(offsets: Float64Array) {
    this.offsets = offsets
    let bytes = 0
    for (let i = 0; i < offsets.length; i += 2) bytes += offsets[i + 1]! - offsets[i]!
    this.bytes = bytes
  }

  /** How many ranges there are. */
  get length(): number {
    return this.offsets.length / 2
  }

  *[Symbol.iterator](): Generator<ByteRange> {
    for (let i = 0; i < this.offsets.length; i += 2) yield { start: this.offsets[i]!, end: this.offsets[i + 1]! }
  }
}

/** Collects ranges that come in ascending order, joining those that touch. */
export class RangeCollector {
  #offsets = new Float64Array(64)
  #length = 0

  add(start: number, end: number): void {
    const last = this.#length === 0 ? -1 : this.#offsets[this.#length - 1]!
    assert(start >= last && end > start, 'ranges come in order')
    if (start === last) {
      this.#offsets[this.#length - 1] = end
      return
    }
    if (this.#length === this.#offsets.length) this.#enlarge()
    this.#offsets[this.#length++] = start
    this.#offsets[this.#length++] = end
  }

  #enlarge(): void {
    const larger = new Float64Array(this.#offsets.length * 2)
    larger.set(this.#offsets)
    this.#offsets = larger
  }

  finish(): WrittenRanges {
    return new WrittenRanges(this.#offsets.slice(0, this.#length))
  }
}
