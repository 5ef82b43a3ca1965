import type { WrittenRanges } from './written-ranges.ts'

/** One tracker's marks on one buffer. Every call is given all bytes of the buffer as they are now. */
export interface Marks extends Disposable {
  readonly tracker: 'wp-async' | 'compare'
  /** Makes the marks fit the buffer, which may have grown or moved since. A text says why they cannot any more. */
  follow(bytes: Uint8Array): string | undefined
  /** Sets the mark everywhere. */
  mark(bytes: Uint8Array): void
  written(bytes: Uint8Array): WrittenRanges
  /** Copies what was written since the mark to the same place of `into`, having set the mark there again. */
  copyWritten(bytes: Uint8Array, into: Uint8Array): WrittenRanges
}
