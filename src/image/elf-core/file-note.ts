import { address } from '../../memory/address.ts'
import type { CoreFileMapping } from './core.ts'
import { CoreFormatError } from './core-format-error.ts'
import type { StructReader } from './struct-reader.ts'
import { decodeText, encodeText } from './text.ts'

/**
 * NT_FILE, fill_files_note() of fs/binfmt_elf.c (Linux 6.18), all words of 64 bits:
 *
 *    0  count   8  page size
 *   16  count × { start, end, offset in the file in units of "page size" }
 *       count × path, each with its NUL
 *
 * The kernel writes the real page size. gcore (gdb 13.1, linux_make_mappings_corefile_notes()) writes 1 and byte offsets.
 */
const HEAD_BYTES = 16
const ENTRY_BYTES = 24

export interface FileNote {
  /** What the writer counts offsets in: the page size, or 1. */
  readonly unitBytes: number
  readonly mappings: readonly { readonly mapping: Omit<CoreFileMapping, 'pageOffset'>; readonly unitOffset: bigint }[]
}

export function encodeFileNote(files: readonly CoreFileMapping[], pageBytes: number): Uint8Array {
  const paths = files.map((file) => encodeText(file.path))
  let pathAt = HEAD_BYTES + files.length * ENTRY_BYTES
  const bytes = new Uint8Array(pathAt + paths.reduce((sum, path) => sum + path.length + 1, 0))
  const view = new DataView(bytes.buffer)
  view.setBigUint64(0, BigInt(files.length), true)
  view.setBigUint64(8, BigInt(pageBytes), true)
  files.forEach((file, i) => {
    const at = HEAD_BYTES + i * ENTRY_BYTES
    view.setBigUint64(at, file.start, true)
    view.setBigUint64(at + 8, file.end, true)
    view.setBigUint64(at + 16, BigInt(file.pageOffset), true)
    const path = paths[i]!
    bytes.set(path, pathAt)
    pathAt += path.length + 1
  })
  return bytes
}

export function decodeFileNote(note: StructReader): FileNote {
  const { bytes, offset } = note
  if (bytes.length < HEAD_BYTES) throw new CoreFormatError(`NT_FILE has ${bytes.length} bytes, not even ${HEAD_BYTES}`, offset)
  const count = note.size(0, 'the number of mappings in NT_FILE')
  const unitBytes = note.size(8, 'the page size in NT_FILE')
  if (count > (bytes.length - HEAD_BYTES) / (ENTRY_BYTES + 1)) {
    throw new CoreFormatError(`NT_FILE claims ${count} mappings, its ${bytes.length} bytes cannot hold them`, offset)
  }
  const mappings: FileNote['mappings'][number][] = []
  let pathAt = HEAD_BYTES + count * ENTRY_BYTES
  for (let at = HEAD_BYTES; at < HEAD_BYTES + count * ENTRY_BYTES; at += ENTRY_BYTES) {
    const pathEnd = bytes.indexOf(0, pathAt)
    if (pathEnd < 0) throw new CoreFormatError('NT_FILE is cut short: a path has no end', offset + Math.min(pathAt, bytes.length))
    const [start, end] = [note.u64(at), note.u64(at + 8)]
    if (start > end) throw new CoreFormatError(`NT_FILE has a mapping that ends (0x${end.toString(16)}) before it starts (0x${start.toString(16)})`, offset + at)
    const path = decodeText(bytes.subarray(pathAt, pathEnd))
    mappings.push({ mapping: { start: address(start), end: address(end), path }, unitOffset: note.u64(at + 16) })
    pathAt = pathEnd + 1
  }
  return { unitBytes, mappings }
}

/** The mappings with their offsets in pages. */
export function fileMappings(note: FileNote, pageBytes: number, offset: number): readonly CoreFileMapping[] {
  return note.mappings.map(({ mapping, unitOffset }) => {
    const byteOffset = unitOffset * BigInt(note.unitBytes)
    const pageOffset = Number(byteOffset / BigInt(pageBytes))
    if (byteOffset % BigInt(pageBytes) !== 0n || !Number.isSafeInteger(pageOffset)) {
      throw new CoreFormatError(`NT_FILE maps ${mapping.path} from byte ${byteOffset}, which is not a page of ${pageBytes} bytes`, offset)
    }
    return { ...mapping, pageOffset }
  })
}
