import { closeSync, constants, fstatSync, openSync, readlinkSync, statSync, type BigIntStats } from 'node:fs'
import type { PageShift } from '../memory/address.ts'
import { objectKey, type Mapping } from '../memory/mapping.ts'
import type { AddressSpace, FlaggedDetail, MappedObject } from '../kernel/address-space.ts'
import type { Block } from '../kernel/block.ts'
import { allocateBlock } from './block.ts'
import { mapFilePath, MapsFile, readDetails } from './maps.ts'
import { deviceObject, MAPPED_FILE_BLOCK_BYTES, MappedFile } from './mapped-file.ts'
import { PagemapFile } from './pagemap.ts'
import { listProc, readStat } from './proc.ts'
import { liveTask, requireProcess } from './process.ts'
import { notReadable, processGone } from './refusals.ts'

type Refusal = Exclude<ReturnType<AddressSpace['object']>, MappedObject>

export function openAddressSpace(pid: number, shift: PageShift): AddressSpace {
  requireProcess(pid)
  try {
    return new LinuxAddressSpace(pid, shift)
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ESRCH') throw processGone(pid)
    if (code !== 'EACCES' && code !== 'EPERM') throw cause
    throw notReadable(pid, cause)
  }
}

class LinuxAddressSpace implements AddressSpace {
  readonly pid: number
  readonly name: string
  readonly pageTables: PagemapFile
  readonly #maps: MapsFile
  readonly #shift: PageShift
  readonly #task: number
  readonly #block = allocateBlock(MAPPED_FILE_BLOCK_BYTES)
  /** The mappings of one file follow each other: the last object is the only one worth keeping open. */
  #last: { readonly key: string; readonly found: MappedFile | MappedObject | Refusal } | undefined
  /** Paths of the target's open files by inode, listed when first needed. */
  #openFiles: ReadonlyMap<number, string> | undefined

  constructor(pid: number, shift: PageShift) {
    this.pid = pid
    this.name = readStat(`/proc/${pid}/stat`)?.name ?? ''
    this.#shift = shift
    this.#task = liveTask(pid)
    this.#maps = new MapsFile(this.#task, shift)
    this.pageTables = new PagemapFile(this.#task, shift)
  }

  mappings(): readonly Mapping[] {
    return this.#maps.mappings(this.pid, 'while it was looked at')
  }

  details(): ReadonlyMap<number, FlaggedDetail> {
    return readDetails(this.#task, this.#shift)
  }

  object(mapping: Mapping): MappedObject | Refusal {
    const key = objectKey(mapping)
    if (this.#last?.key !== key) {
      this.#forget()
      this.#last = { key, found: this.#open(mapping) }
    }
    return this.#last!.found
  }

  /**
   * Tried in turn: the mapping's own link, which needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN (proc_map_files_get_link,
   * Linux 5.9); its path in the target's root; a file the target still has open. Nothing but a regular file is ever opened.
   */
  #open(mapping: Mapping): MappedFile | MappedObject | Refusal {
    let why = 'it has no name any more, and /proc/PID/map_files needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN'
    for (const path of [
      () => mapFilePath(this.#task, mapping, this.#shift),
      () => (mapping.path.startsWith('/') ? `/proc/${this.#task}/root${mapping.path}` : undefined),
      () => this.#openFile(mapping.inode),
    ]) {
      const name = path()
      if (name === undefined) continue
      try {
        const found = openRegular(name, mapping.inode, this.#shift, this.#block)
        if (found !== undefined) return found
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException
        if (code !== 'ENOENT' && !name.includes('/map_files/')) why = `it cannot be opened (${code})`
      }
    }
    return { kind: 'refused', why, shmem: isNamelessShmem(mapping.path) }
  }

  #openFile(inode: number): string | undefined {
    this.#openFiles ??= openFiles(this.#task)
    return this.#openFiles.get(inode)
  }

  #forget(): void {
    if (this.#last?.found instanceof MappedFile) this.#last.found[Symbol.dispose]()
    this.#last = undefined
  }

  [Symbol.dispose](): void {
    this.#forget()
    this.#block[Symbol.dispose]()
    this.#maps[Symbol.dispose]()
    this.pageTables[Symbol.dispose]()
  }
}

/** `undefined` when another file has that path now. Opening a device could do anything, so its kind is all we learn. */
function openRegular(path: string, inode: number, shift: PageShift, block: Block): MappedFile | MappedObject | undefined {
  const isIt = (stat: BigIntStats): boolean => Number(stat.ino) === inode
  const stat = statSync(path, { bigint: true })
  if (!isIt(stat)) return undefined
  if (!stat.isFile()) return deviceObject
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
  const opened = fstatSync(file, { bigint: true })
  if (isIt(opened) && opened.isFile()) return new MappedFile(file, opened, shift, block)
  closeSync(file)
  return undefined
}

/** Regular files only, memfds among them; found without opening any. */
function openFiles(task: number): ReadonlyMap<number, string> {
  const files = new Map<number, string>()
  for (const fd of listProc(`/proc/${task}/fd`)) {
    const path = `/proc/${task}/fd/${fd}`
    try {
      if (!readlinkSync(path).startsWith('/')) continue
      const stat = statSync(path, { bigint: true })
      if (stat.isFile()) files.set(Number(stat.ino), path)
    } catch {
      continue // Closed meanwhile.
    }
  }
  return files
}

/** Names that the kernel itself gives: memfd_create(2), shared anonymous memory, System V shared memory. */
function isNamelessShmem(path: string): boolean {
  return /^\/(memfd:.*|dev\/zero|SYSV[0-9a-f]{8}) \(deleted\)$/.test(path)
}
