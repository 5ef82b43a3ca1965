import { CoreFormatError } from './core-format-error.ts'

/** The fields of one little-endian structure, which knows where in the file it lies so that errors can say it. */
export class StructReader {
  readonly bytes: Uint8Array
  /** Offset of the structure in the file. */
  readonly offset: number
  readonly #view: DataView

  constructor(bytes: Uint8Array, offset: number) {
    this.bytes = bytes
    this.offset = offset
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  u8(at: number): number { return this.#view.getUint8(at) }
  i8(at: number): number { return this.#view.getInt8(at) }
  u16(at: number): number { return this.#view.getUint16(at, true) }
  i16(at: number): number { return this.#view.getInt16(at, true) }
  u32(at: number): number { return this.#view.getUint32(at, true) }
  i32(at: number): number { return this.#view.getInt32(at, true) }
  u64(at: number): bigint { return this.#view.getBigUint64(at, true) }
  i64(at: number): bigint { return this.#view.getBigInt64(at, true) }

  /** A 64-bit size or offset. One that a double cannot hold is not one of any file there is. */
  size(at: number, what: string): number {
    const value = this.u32(at + 4) * 2 ** 32 + this.u32(at)
    if (!Number.isSafeInteger(value)) throw new CoreFormatError(`${what} is 0x${this.u64(at).toString(16)}, which is absurd`, this.offset + at)
    return value
  }
}
