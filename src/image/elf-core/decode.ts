import type { Core, CoreProcess, CoreRegisterSet, CoreThread } from './core.ts'
import { CoreFormatError } from './core-format-error.ts'
import { WindowedSource, type CoreSource } from './core-source.ts'
import { readElfHeader } from './elf-header.ts'
import { decodeFileNote, fileMappings, type FileNote } from './file-note.ts'
import { isRegisterSet, type CoreMachine } from './machine.ts'
import { findNotes, NT_AUXV, NT_FILE, NT_PRPSINFO, NT_PRSTATUS, NT_SIGINFO, readNote, requireNotesInFile, type FoundNote } from './notes.ts'
import { readProgramHeaders } from './program-header.ts'
import { decodePrPsInfo } from './prpsinfo.ts'
import { decodePrStatus, type PrStatus } from './prstatus.ts'
import { StructReader } from './struct-reader.ts'

const AT_PAGESZ = 6n

/**
 * Reads a core made by us, by the kernel or by gcore. Reads headers and notes only, never memory: a file that was cut
 * short in the memory decodes, and readCoreMemory() tells which memory is gone. Notes it does not know are left out.
 *
 * @throws CoreFormatError, and nothing else but what `source.read` throws.
 */
export function decodeCore(source: CoreSource): Core {
  const header = readElfHeader(source)
  const { segments, notes: ranges, alignMax } = readProgramHeaders(source, header)
  requireNotesInFile(ranges, source.bytes)
  const notes = new NoteCollector(source, header.machine)
  for (const range of ranges) notes.addAll(range)
  const missing = (what: string): never => { throw new CoreFormatError(`not the core of a process: it has no ${what} note`, ranges[0]?.start ?? 0) }
  const process = notes.process ?? missing('NT_PRPSINFO')
  const threads = notes.threads.length > 0 ? notes.threads : missing('NT_PRSTATUS')
  const auxv = notes.auxv?.bytes ?? new Uint8Array(0)
  const pageBytes = findPageBytes(notes.files, notes.auxv, alignMax)
  const files = notes.files === undefined ? [] : fileMappings(notes.files.value, pageBytes, notes.files.offset)
  return { machine: header.machine, pageBytes, process, threads, auxv, files, segments }
}

/** A thread, while its notes come in. */
interface OpenThread extends PrStatus {
  readonly sets: CoreRegisterSet[]
  siginfo: CoreThread['siginfo']
}

/** Sorts notes as they come. A note of a thread belongs to the NT_PRSTATUS in front of it. */
class NoteCollector {
  readonly #source: WindowedSource
  readonly #machine: CoreMachine
  readonly threads: OpenThread[] = []
  process: CoreProcess | undefined
  auxv: StructReader | undefined
  files: { readonly value: FileNote; readonly offset: number } | undefined

  constructor(source: CoreSource, machine: CoreMachine) {
    this.#source = new WindowedSource(source)
    this.#machine = machine
  }

  addAll(range: { readonly start: number; readonly end: number }): void {
    for (const note of findNotes(this.#source, range)) {
      if (isRegisterSet(this.#machine, note.owner, note.type)) {
        const bytes = readNote(this.#source, note, 'a register set').bytes
        this.#thread(note).sets.push({ note: note.type, owner: note.owner, bytes })
      } else if (note.owner === 'CORE') this.#addCore(note)
    }
  }

  #addCore(note: FoundNote): void {
    switch (note.type) {
      case NT_PRSTATUS:
        this.threads.push({ ...decodePrStatus(this.#machine, readNote(this.#source, note, 'NT_PRSTATUS')), sets: [], siginfo: undefined })
        break
      case NT_SIGINFO: {
        const { bytes, offset } = readNote(this.#source, note, 'NT_SIGINFO')
        if (bytes.length !== 128) throw new CoreFormatError(`NT_SIGINFO has ${bytes.length} bytes, not 128`, offset)
        this.#thread(note).siginfo = bytes
        break
      }
      case NT_PRPSINFO:
        this.#once(this.process, 'NT_PRPSINFO', note)
        this.process = decodePrPsInfo(readNote(this.#source, note, 'NT_PRPSINFO'))
        break
      case NT_AUXV:
        this.#once(this.auxv, 'NT_AUXV', note)
        this.auxv = readNote(this.#source, note, 'NT_AUXV')
        break
      case NT_FILE: {
        this.#once(this.files, 'NT_FILE', note)
        const fields = readNote(this.#source, note, 'NT_FILE')
        this.files = { value: decodeFileNote(fields), offset: fields.offset }
        break
      }
    }
  }

  #thread(note: FoundNote): OpenThread {
    const thread = this.threads.at(-1)
    if (thread === undefined) throw new CoreFormatError(`a thread's note (type 0x${note.type.toString(16)}) before any NT_PRSTATUS`, note.range.start)
    return thread
  }

  #once(already: unknown, what: string, note: FoundNote): void {
    if (already !== undefined) throw new CoreFormatError(`a second ${what} note`, note.range.start)
  }
}

/**
 * No field of a core is the page size, so ask in turn those that imply it. NT_FILE of the kernel and of us has it (gcore
 * says 1 there); AT_PAGESZ is the kernel's word to the process; the kernel aligns segments to it (gcore to 1).
 */
function findPageBytes(files: NoteCollector['files'], auxv: StructReader | undefined, alignMax: number): number {
  const candidates = [
    { bytes: files?.value.unitBytes, offset: files?.offset },
    { bytes: auxvPageBytes(auxv), offset: auxv?.offset },
    { bytes: alignMax, offset: 0 },
  ]
  const found = candidates.find(({ bytes }) => bytes !== undefined && bytes > 1)
  if (found?.bytes === undefined) throw new CoreFormatError('nothing in the core tells the page size: no AT_PAGESZ, no NT_FILE', 0)
  const { bytes, offset } = found
  if (bytes < 4096 || bytes > 65536 || !Number.isInteger(Math.log2(bytes))) throw new CoreFormatError(`a page size of ${bytes} bytes`, offset ?? 0)
  return bytes
}

function auxvPageBytes(auxv: StructReader | undefined): number | undefined {
  if (auxv === undefined) return undefined
  for (let at = 0; at + 16 <= auxv.bytes.length; at += 16) if (auxv.u64(at) === AT_PAGESZ) return Number(auxv.u64(at + 8))
  return undefined
}
