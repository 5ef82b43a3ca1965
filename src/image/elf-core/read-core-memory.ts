import { formatAddress, type Address } from '../../memory/address.ts'
import type { Core, CoreSegment } from './core.ts'
import { readExactly, type CoreSource } from './core-source.ts'

const mark = Symbol.for('tidemark.CoreMemoryError')

/** The memory asked for is not in the core. */
export class CoreMemoryError extends Error {
  readonly code = 'core-memory'
  readonly [mark] = true
  /** The first address that cannot be read. */
  readonly address: bigint
  /** `unmapped`: the process had no memory there, as far as the core tells. `not-saved`: it had, but the core leaves the contents out. */
  readonly reason: 'unmapped' | 'not-saved'

  constructor(at: bigint, reason: 'unmapped' | 'not-saved') {
    const why = reason === 'unmapped' ? 'no segment holds it' : 'its segment says nothing of the contents'
    super(`the memory at ${formatAddress(at)} is not in the core: ${why}`)
    this.name = 'CoreMemoryError'
    this.address = at
    this.reason = reason
  }
}

export function isCoreMemoryError(error: unknown): error is CoreMemoryError {
  return typeof error === 'object' && error !== null && mark in error
}

/**
 * `length` bytes of the process's memory; they may span segments. Memory that a segment has beyond its `fileBytes` is
 * not zero but unknown (the kernel leaves out text, for one: it is in the program's file), so it cannot be read.
 *
 * @throws CoreMemoryError when any of the bytes is not in the core, CoreFormatError when the file was cut short there.
 */
export function readCoreMemory(core: Core, source: CoreSource, from: Address, length: number): Uint8Array {
  const pieces = [...piecesOf(core.segments, from, length)]
  // One segment holds all of it nearly always: then there is nothing to join.
  const only = pieces[0]
  if (only !== undefined && pieces.length === 1) return readExactly(source, only.fileOffset, only.bytes, what(only))
  for (const piece of pieces) if (piece.fileOffset + piece.bytes > source.bytes) readExactly(source, piece.fileOffset, piece.bytes, what(piece))
  const bytes = new Uint8Array(length)
  for (const piece of pieces) bytes.set(readExactly(source, piece.fileOffset, piece.bytes, what(piece)), piece.at)
  return bytes
}

interface Piece {
  readonly address: bigint
  /** Where in the result it goes. */
  readonly at: number
  readonly fileOffset: number
  readonly bytes: number
}

function what(piece: Piece): string {
  return `the memory at ${formatAddress(piece.address)}`
}

function* piecesOf(segments: readonly CoreSegment[], from: Address, length: number): Generator<Piece> {
  let index = lastAtOrBelow(segments, from)
  for (let at = 0; at < length; index++) {
    const wanted = from + BigInt(at)
    const segment = segments[index]
    if (segment === undefined || wanted < segment.start) throw new CoreMemoryError(wanted, 'unmapped')
    const into = wanted - segment.start
    if (into >= BigInt(segment.memoryBytes)) throw new CoreMemoryError(wanted, 'unmapped')
    const saved = segment.fileBytes - Number(into)
    if (saved <= 0) throw new CoreMemoryError(wanted, 'not-saved')
    const bytes = Math.min(saved, length - at)
    yield { address: wanted, at, fileOffset: segment.fileOffset + Number(into), bytes }
    at += bytes
    if (at < length && segment.fileBytes < segment.memoryBytes) throw new CoreMemoryError(from + BigInt(at), 'not-saved')
  }
}

/** Index of the last segment that starts at or below `at`; -1 when all start above. */
function lastAtOrBelow(segments: readonly CoreSegment[], at: bigint): number {
  let [low, high] = [0, segments.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (segments[middle]!.start <= at) low = middle + 1
    else high = middle
  }
  return low - 1
}
