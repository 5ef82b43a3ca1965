import { CoreFormatError } from './core-format-error.ts'
import type { WindowedSource } from './core-source.ts'
import type { FileRange } from './program-header.ts'
import { StructReader } from './struct-reader.ts'

/**
 * A note, struct elf64_note of include/uapi/linux/elf.h and writenote() of fs/binfmt_elf.c:
 *
 *    0  n_namesz (with the NUL)   4  n_descsz   8  n_type
 *   12  the owner's name, NUL, padded to 4; then the contents, padded to 4
 */
const NOTE_HEADER_BYTES = 12
const OWNER_BYTES_MAX = 64

/** 32,768 threads with AMX state of 11 KiB each are 360 MiB of notes. */
const NOTES_BYTES_MAX = 2 ** 30
/** The largest note is NT_FILE; 128 MiB hold a million mappings with paths of a hundred bytes. */
const NOTE_BYTES_MAX = 2 ** 27

export const NT_PRSTATUS = 1
export const NT_PRPSINFO = 3
export const NT_AUXV = 6
export const NT_SIGINFO = 0x5349_4749
export const NT_FILE = 0x4649_4c45

export interface Note {
  readonly owner: string
  readonly type: number
  readonly bytes: Uint8Array
}

/** A note found in a file, whose contents are read only when somebody wants them. */
export interface FoundNote {
  readonly owner: string
  readonly type: number
  /** The contents. */
  readonly range: FileRange
}

function padded(bytes: number): number {
  return Math.ceil(bytes / 4) * 4
}

export function encodeNotes(notes: readonly Note[]): Uint8Array {
  const noteBytes = (note: Note): number => NOTE_HEADER_BYTES + padded(note.owner.length + 1) + padded(note.bytes.length)
  const bytes = new Uint8Array(notes.reduce((sum, note) => sum + noteBytes(note), 0))
  const view = new DataView(bytes.buffer)
  let at = 0
  for (const note of notes) {
    view.setUint32(at, note.owner.length + 1, true)
    view.setUint32(at + 4, note.bytes.length, true)
    view.setUint32(at + 8, note.type, true)
    for (let i = 0; i < note.owner.length; i++) bytes[at + NOTE_HEADER_BYTES + i] = note.owner.charCodeAt(i)
    bytes.set(note.bytes, at + NOTE_HEADER_BYTES + padded(note.owner.length + 1))
    at += noteBytes(note)
  }
  return bytes
}

/** Whether the notes are there at all. The sum counts, or many headers for the same notes would multiply a small file. */
export function requireNotesInFile(ranges: readonly FileRange[], fileBytes: number): void {
  let sum = 0
  for (const { start, end } of ranges) {
    if (end > fileBytes) throw new CoreFormatError(`the notes are cut short: they should end at 0x${end.toString(16)}, the file ends at 0x${fileBytes.toString(16)}`, start)
    sum += end - start
    if (sum > Math.min(fileBytes, NOTES_BYTES_MAX)) throw new CoreFormatError(`${sum} bytes of notes, more than any process needs or than the file has`, start)
  }
}

/** The notes in a range of the file, in its order. Does not read the contents, so a note of no interest costs nothing. */
export function* findNotes(source: WindowedSource, range: FileRange): Generator<FoundNote> {
  for (let at = range.start; at < range.end;) {
    if (at + NOTE_HEADER_BYTES > range.end) throw new CoreFormatError(`the notes are cut short: ${range.end - at} bytes left, a note takes 12`, at)
    const header = new StructReader(source.read(at, NOTE_HEADER_BYTES, "a note's header"), at)
    const [ownerBytes, contentBytes, type] = [header.u32(0), header.u32(4), header.u32(8)]
    if (ownerBytes === 0 && contentBytes === 0 && type === 0) throw new CoreFormatError('zeros where a note should be: the notes were never written', at)
    const start = at + NOTE_HEADER_BYTES + padded(ownerBytes)
    const end = start + contentBytes
    // The last note's padding may be missing: old writers left it out. Its contents may not.
    if (end > range.end) {
      throw new CoreFormatError(`the notes are cut short: a note of type 0x${type.toString(16)} should end at 0x${end.toString(16)}, the notes end at 0x${range.end.toString(16)}`, at)
    }
    if (ownerBytes > OWNER_BYTES_MAX) throw new CoreFormatError(`a note's owner has a name of ${ownerBytes} bytes`, at)
    yield { owner: ownerName(source.read(at + NOTE_HEADER_BYTES, ownerBytes, "a note's owner")), type, range: { start, end } }
    at = start + padded(contentBytes)
  }
}

function ownerName(bytes: Uint8Array): string {
  const end = bytes.indexOf(0)
  return String.fromCharCode(...(end < 0 ? bytes : bytes.subarray(0, end)))
}

/** The contents, copied. `what` names the note in an error. */
export function readNote(source: WindowedSource, note: FoundNote, what: string): StructReader {
  const { start, end } = note.range
  if (end - start > NOTE_BYTES_MAX) throw new CoreFormatError(`${what} has ${end - start} bytes, more than any process needs`, start)
  // Not slice(): the source may give out Node's Buffers, whose slice() does not copy.
  return new StructReader(new Uint8Array(source.read(start, end - start, what)), start)
}
