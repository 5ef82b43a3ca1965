import type { Core } from './core.ts'
import { encodeElfHeader, encodeSectionHeader, needsSectionHeader, SECTION_HEADER_BYTES } from './elf-header.ts'
import { encodeFileNote } from './file-note.ts'
import { encodeNotes, NT_AUXV, NT_FILE, NT_PRPSINFO, NT_PRSTATUS, NT_SIGINFO, type Note } from './notes.ts'
import { encodeNoteHeader, encodeSegmentHeader, PROGRAM_HEADER_BYTES } from './program-header.ts'
import { encodePrPsInfo } from './prpsinfo.ts'
import { encodePrStatus } from './prstatus.ts'
import { requireEncodable } from './require-encodable.ts'

/**
 * A core file but for the memory's contents:
 *
 *   0            header, 64 bytes
 *   64           the contents of memory: the caller has put them where the segments say
 *   tailOffset   tail: 0 to 7 zeros to a multiple of 8, program headers, notes, section header if need be
 *
 * The tail comes last because memory is written to its final place while the target still runs, when nobody knows
 * how many threads and segments there will be at the end. e_phoff may point anywhere.
 *
 * @throws RangeError for values the format cannot hold: a bug of the caller.
 */
export function encodeCore(core: Core, tailOffset: number): { header: Uint8Array; tail: Uint8Array } {
  requireEncodable(core, tailOffset)
  const notes = encodeNotes(coreNotes(core))
  const programHeaderCount = core.segments.length + 1
  const programHeadersOffset = Math.ceil(tailOffset / 8) * 8
  const notesOffset = programHeadersOffset + programHeaderCount * PROGRAM_HEADER_BYTES
  const notesEnd = notesOffset + notes.length
  const extended = needsSectionHeader(programHeaderCount)
  const sectionHeaderOffset = Math.ceil(notesEnd / 8) * 8
  const end = extended ? sectionHeaderOffset + SECTION_HEADER_BYTES : notesEnd

  const tail = new Uint8Array(end - tailOffset)
  const view = new DataView(tail.buffer)
  let at = programHeadersOffset - tailOffset
  encodeNoteHeader(view, at, { start: notesOffset, end: notesEnd })
  for (const segment of core.segments) encodeSegmentHeader(view, at += PROGRAM_HEADER_BYTES, segment, core.pageBytes)
  tail.set(notes, notesOffset - tailOffset)
  if (extended) tail.set(encodeSectionHeader(programHeaderCount), sectionHeaderOffset - tailOffset)
  const header = encodeElfHeader({ machine: core.machine, programHeadersOffset, programHeaderCount }, sectionHeaderOffset)
  return { header, tail }
}

/**
 * In the order of write_note_info() of fs/binfmt_elf.c. Debuggers give every note to the thread whose NT_PRSTATUS came
 * last, and select the first. Unlike the kernel, and like gcore, every thread gets its NT_SIGINFO.
 */
function coreNotes(core: Core): readonly Note[] {
  const ofProcess: readonly Note[] = [
    { owner: 'CORE', type: NT_AUXV, bytes: core.auxv },
    { owner: 'CORE', type: NT_FILE, bytes: encodeFileNote(core.files, core.pageBytes) },
  ]
  return core.threads.flatMap((thread, i): readonly Note[] => [
    { owner: 'CORE', type: NT_PRSTATUS, bytes: encodePrStatus(core.machine, core.process, thread) },
    ...(i === 0 ? [{ owner: 'CORE', type: NT_PRPSINFO, bytes: encodePrPsInfo(core.process) }] : []),
    ...(thread.siginfo === undefined ? [] : [{ owner: 'CORE', type: NT_SIGINFO, bytes: thread.siginfo }]),
    ...(i === 0 ? ofProcess : []),
    ...thread.sets.map((set) => ({ owner: set.owner, type: set.note, bytes: set.bytes })),
  ])
}
