import { address } from '../../memory/address.ts'
import type { CoreSegment } from './core.ts'
import { CoreFormatError } from './core-format-error.ts'
import { readExactly, type CoreSource } from './core-source.ts'
import type { ElfHeader } from './elf-header.ts'
import { StructReader } from './struct-reader.ts'

/**
 * Elf64_Phdr, include/uapi/linux/elf.h:
 *
 *    0  p_type    4  p_flags: 1 execute, 2 write, 4 read    8  p_offset   16  p_vaddr
 *   24  p_paddr  32  p_filesz                              40  p_memsz   48  p_align
 *
 * The kernel writes p_align = the page size, gcore writes 1 (and puts memory at any offset).
 */
export const PROGRAM_HEADER_BYTES = 56
const PT_LOAD = 1
const PT_NOTE = 4
const CHUNK_HEADERS = 4096
const ADDRESSES_END = 1n << 64n

/** Bytes of the file, from `start` up to but not including `end`. */
export interface FileRange {
  readonly start: number
  readonly end: number
}

export interface ProgramHeaders {
  readonly segments: readonly CoreSegment[]
  readonly notes: readonly FileRange[]
  /** The largest p_align of a segment; 0 when there is none. */
  readonly alignMax: number
}

/** As fill_elf_note_phdr() of fs/binfmt_elf.c writes it. */
export function encodeNoteHeader(into: DataView, at: number, notes: FileRange): void {
  into.setUint32(at, PT_NOTE, true)
  into.setBigUint64(at + 8, BigInt(notes.start), true)
  into.setBigUint64(at + 32, BigInt(notes.end - notes.start), true)
  into.setBigUint64(at + 48, 4n, true)
}

export function encodeSegmentHeader(into: DataView, at: number, segment: CoreSegment, pageBytes: number): void {
  into.setUint32(at, PT_LOAD, true)
  into.setUint32(at + 4, (segment.executable ? 1 : 0) | (segment.writable ? 2 : 0) | (segment.readable ? 4 : 0), true)
  into.setBigUint64(at + 8, BigInt(segment.fileOffset), true)
  into.setBigUint64(at + 16, segment.start, true)
  into.setBigUint64(at + 32, BigInt(segment.fileBytes), true)
  into.setBigUint64(at + 40, BigInt(segment.memoryBytes), true)
  into.setBigUint64(at + 48, BigInt(pageBytes), true)
}

/** Reads the table in chunks. Types other than PT_LOAD and PT_NOTE (arm64 memory tags, for one) are left out. */
export function readProgramHeaders(source: CoreSource, header: ElfHeader): ProgramHeaders {
  const { programHeadersOffset: table, programHeaderCount: count } = header
  const segments: CoreSegment[] = []
  const notes: FileRange[] = []
  let alignMax = 0
  for (let first = 0; first < count; first += CHUNK_HEADERS) {
    const chunk = Math.min(CHUNK_HEADERS, count - first)
    const offset = table + first * PROGRAM_HEADER_BYTES
    const bytes = readExactly(source, offset, chunk * PROGRAM_HEADER_BYTES, `program headers ${first} to ${first + chunk}`)
    for (let at = 0; at < bytes.length; at += PROGRAM_HEADER_BYTES) {
      const fields = new StructReader(bytes.subarray(at, at + PROGRAM_HEADER_BYTES), offset + at)
      const type = fields.u32(0)
      if (type === PT_NOTE) notes.push(decodeNoteHeader(fields))
      if (type !== PT_LOAD) continue
      const segment = decodeSegmentHeader(fields)
      if (segment.memoryBytes > 0) segments.push(segment)
      alignMax = Math.max(alignMax, Number(fields.u64(48)))
    }
  }
  return { segments: inOrder(segments, table), notes, alignMax }
}

function decodeNoteHeader(fields: StructReader): FileRange {
  const start = fields.size(8, 'the offset of the notes')
  return { start, end: start + fields.size(32, 'the size of the notes') }
}

function decodeSegmentHeader(fields: StructReader): CoreSegment {
  const start = address(fields.u64(16))
  const fileOffset = fields.size(8, "a segment's offset")
  const fileBytes = fields.size(32, "a segment's size in the file")
  const memoryBytes = fields.size(40, "a segment's size in memory")
  const flags = fields.u32(4)
  const refuse = (what: string): never => { throw new CoreFormatError(`the segment at 0x${start.toString(16)} ${what}`, fields.offset) }
  if (fileBytes > memoryBytes) refuse(`has ${fileBytes} bytes in the file but only ${memoryBytes} in memory`)
  if (!Number.isSafeInteger(fileOffset + fileBytes)) refuse('ends past any file there is')
  if (start + BigInt(memoryBytes) > ADDRESSES_END) refuse(`has ${memoryBytes} bytes, which is past the end of the address space`)
  return {
    start, memoryBytes, fileOffset, fileBytes,
    readable: (flags & 4) !== 0, writable: (flags & 2) !== 0, executable: (flags & 1) !== 0,
  }
}

/** Both writers go up the address space; for one that does not, sort. Memory that is there twice has no one value: refuse it. */
function inOrder(segments: CoreSegment[], table: number): readonly CoreSegment[] {
  let overlap = firstOverlap(segments)
  if (overlap === undefined) return segments
  segments.sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0))
  overlap = firstOverlap(segments)
  if (overlap === undefined) return segments
  throw new CoreFormatError(`two segments hold the memory at 0x${overlap.start.toString(16)}`, table)
}

/** The first segment that begins before the one in front of it ends. */
export function firstOverlap(segments: readonly CoreSegment[]): CoreSegment | undefined {
  let end = 0n
  for (const segment of segments) {
    if (segment.start < end) return segment
    end = segment.start + BigInt(segment.memoryBytes)
  }
  return undefined
}
