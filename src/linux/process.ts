import { closeSync, openSync, readSync, statSync, writeFileSync } from 'node:fs'
import type { PageNumber, PageShift } from '../memory/address.ts'
import { objectKey, type Mapping } from '../memory/mapping.ts'
import type { PageRange } from '../memory/page-range.ts'
import type { RegionList } from '../memory/region-list.ts'
import { TidemarkError } from '../kernel/errors.ts'
import type { FileStamp, HiddenWriters, MappingDetail, Process, ProcessIdentity, ThreadTimes } from '../kernel/process.ts'
import { systemCall } from './ffi.ts'
import { mapFilePath, MapsFile, parseMaps, readDetails } from './maps.ts'
import { PageOut } from './page-out.ts'
import { PagemapFile } from './pagemap.ts'
import { listProc, readProc, readProcBytes, readStat, statusLine } from './proc.ts'
import { findSwappedShared } from './shared-swap.ts'
import { NR } from './system-calls.ts'
import { LinuxMemory } from './target-memory.ts'
import { notPermitted, processGone, tracerOf } from './refusals.ts'

const PF_KTHREAD = 0x20_0000
/** include/uapi/asm-generic/fcntl.h; arm64 swaps O_DIRECT with O_DIRECTORY's neighbour. */
const O_DIRECT = process.arch === 'arm64' ? 0o200000 : 0o40000
const O_ACCMODE = 3
const O_WRONLY = 1
const SEEK_DATA = 3
const SEEK_HOLE = 4
/** USER_HZ, the unit of times in /proc/PID/stat: 100 on every architecture Linux runs on here. */
const TICKS_PER_SECOND = 100

/** Opens the process's files under /proc, after saying clearly why a process cannot be a target. */
export function openProcess(pid: number, shift: PageShift, traced?: 'by-us'): Process {
  if (traced === undefined) refuseImpossible(pid)
  try {
    return new LinuxProcess(pid, shift)
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ESRCH') throw processGone(pid)
    if (code !== 'EACCES' && code !== 'EPERM') throw cause
    throw notPermitted(pid, cause)
  }
}

function refuseImpossible(pid: number): void {
  if (pid === process.pid || pid === process.ppid) throw new TidemarkError('usage', `process ${pid} is tidemark itself`, { pid, hint: 'name another process' })
  requireProcess(pid)
  if (tracerOf(pid) !== 0) throw notPermitted(pid)
}

/** Throws 'gone' (a zombie too), 'usage' (a thread) or 'failed' (a kernel thread). */
export function requireProcess(pid: number): void {
  const stat = readStat(`/proc/${pid}/stat`)
  if (stat === undefined) throw new TidemarkError('gone', `no process ${pid}`, { pid, hint: 'see `ps -e`' })
  const group = Number(statusLine(readProc(`/proc/${pid}/status`) ?? '', 'Tgid') ?? pid)
  if (group !== pid) throw new TidemarkError('usage', `${pid} is a thread of process ${group}`, { pid, hint: `use ${group}` })
  if ((Number(stat.fields[6]) & PF_KTHREAD) !== 0) {
    throw new TidemarkError('failed', `process ${pid} (${stat.name}) is a kernel thread`, { pid, hint: 'it has no memory of its own to save' })
  }
  if (stat.fields[0] === 'X' || (stat.fields[0] === 'Z' && listProc(`/proc/${pid}/task`).length <= 1)) {
    throw new TidemarkError('gone', `process ${pid} is a zombie`, { pid, hint: 'it has ended and waits for its parent' })
  }
}

class LinuxProcess implements Process {
  readonly pid: number
  readonly memory: LinuxMemory
  readonly pageTables: PagemapFile
  readonly #maps: MapsFile
  readonly #pageOut: PageOut
  readonly #shift: PageShift
  /** The thread whose /proc directory shows the memory: once the first thread has ended, its own shows none. */
  readonly #task: number

  constructor(pid: number, shift: PageShift) {
    this.pid = pid
    this.#shift = shift
    this.#task = liveTask(pid)
    this.#maps = new MapsFile(this.#task, shift)
    this.pageTables = new PagemapFile(this.#task, shift)
    this.memory = new LinuxMemory(this.#task, shift)
    this.#pageOut = new PageOut(this.#task, shift)
  }

  mappings(): readonly Mapping[] {
    return this.#maps.mappings(this.pid, 'meanwhile')
  }

  details(): ReadonlyMap<number, MappingDetail> {
    return readDetails(this.#task, this.#shift)
  }

  dataRanges(mapping: Mapping): PageRange[] | 'unknown' {
    let file: number
    try {
      file = openSync(this.#mapFile(mapping), 'r')
    } catch {
      return 'unknown'
    }
    try {
      return seekData(file, mapping, 2 ** this.#shift)
    } finally {
      closeSync(file)
    }
  }

  swappedShared(mapping: Mapping, range: PageRange, found: RegionList): void {
    findSwappedShared(this.#mapFile(mapping), mapping, range, this.#shift, this.pageTables, found)
  }

  pageOut(regions: RegionList): 'done' | 'refused' {
    return this.#pageOut.pageOut(regions)
  }

  /** Opening these links needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN (proc_map_files_get_link, Linux 5.9). */
  #mapFile(mapping: Mapping): string {
    return mapFilePath(this.#task, mapping, this.#shift)
  }

  fileStamp(mapping: Mapping): FileStamp | undefined {
    for (const path of [this.#mapFile(mapping), `/proc/${this.#task}/root${mapping.path}`]) {
      try {
        const { ino, size, blocks, mtimeMs, ctimeMs } = statSync(path)
        if (ino !== mapping.inode) continue
        // A timestamp moves with the clock tick, 1 to 10 ms: one this young may hide a later write.
        return { bytes: size, blocks, times: `${mtimeMs} ${ctimeMs}`, settled: Date.now() - mtimeMs >= 50 }
      } catch {
        continue
      }
    }
    return undefined
  }

  otherWriters(objects: ReadonlySet<string>): Map<string, number[]> {
    const writers = new Map<string, number[]>()
    for (const entry of listProc('/proc')) {
      const pid = Number(entry)
      if (!Number.isInteger(pid) || pid === this.pid) continue
      const text = readProc(`/proc/${pid}/maps`)
      if (text === undefined || !text.includes(' rw')) continue
      const shared = parseMaps(text.split('\n').filter((line) => line.includes('s ')).join('\n'), this.#shift)
      for (const key of new Set(shared.filter((m) => m.shared && m.writable).map(objectKey))) {
        if (objects.has(key)) writers.set(key, [...(writers.get(key) ?? []), pid])
      }
    }
    return writers
  }

  pinnedPages(): number {
    const kib = Number.parseInt(statusLine(readProc(`/proc/${this.#task}/status`) ?? '', 'VmPin') ?? '0', 10)
    return Math.ceil((kib * 1024) / 2 ** this.#shift)
  }

  hiddenWriters(): HiddenWriters {
    const pinnedPages = this.pinnedPages()
    const fixedBuffers: PageRange[] = []
    let directFiles = 0
    for (const fd of listProc(`/proc/${this.#task}/fdinfo`)) {
      const info = readProc(`/proc/${this.#task}/fdinfo/${fd}`) ?? ''
      const flags = Number.parseInt(statusLine(info, 'flags') ?? '0', 8)
      if ((flags & O_DIRECT) !== 0 && (flags & O_ACCMODE) !== O_WRONLY) directFiles++
      if (pinnedPages > 0 && info.includes('UserBufs:')) fixedBuffers.push(...parseFixedBuffers(info, this.#shift))
    }
    return { pinnedPages, fixedBuffers, directFiles }
  }

  clearSoftDirty(): void {
    writeFileSync(`/proc/${this.#task}/clear_refs`, '4')
  }

  children(): number[] {
    const lists = listProc(`/proc/${this.pid}/task`).map((tid) => readProc(`/proc/${this.pid}/task/${tid}/children`) ?? '')
    return lists.join(' ').split(/\s+/).filter((text) => text !== '').map(Number)
  }

  mergedPages(): number {
    return Number(readProc(`/proc/${this.#task}/ksm_merging_pages`)?.trim() ?? 0)
  }

  coredumpFilter(): number {
    return Number.parseInt(readProc(`/proc/${this.#task}/coredump_filter`)?.trim() || '33', 16)
  }

  auxiliaryVector(): Uint8Array {
    return Uint8Array.from(readProcBytes(`/proc/${this.#task}/auxv`) ?? [])
  }

  identity(): ProcessIdentity {
    const stat = readStat(`/proc/${this.pid}/stat`)
    if (stat === undefined) throw processGone(this.pid)
    const status = readProc(`/proc/${this.pid}/status`) ?? ''
    const firstId = (key: string): number => Number.parseInt(statusLine(status, key) ?? '0', 10)
    const command = readProcBytes(`/proc/${this.#task}/cmdline`)?.toString('latin1').replaceAll('\0', ' ').trimEnd()
    return {
      pid: this.pid, parentPid: Number(stat.fields[1]), groupId: Number(stat.fields[2]), sessionId: Number(stat.fields[3]),
      uid: firstId('Uid'), gid: firstId('Gid'), state: stat.fields[0] ?? 'R', nice: Number(stat.fields[16]),
      flags: Number(stat.fields[6]), name: stat.name, commandLine: command || `[${stat.name}]`,
    }
  }

  threadTimes(tid: number): ThreadTimes {
    const fields = readStat(`/proc/${this.pid}/task/${tid}/stat`)?.fields ?? []
    const microseconds = (index: number): number => Number(fields[index] ?? 0) * (1e6 / TICKS_PER_SECOND)
    return {
      userMicroseconds: microseconds(11), systemMicroseconds: microseconds(12),
      childrenUserMicroseconds: microseconds(13), childrenSystemMicroseconds: microseconds(14),
    }
  }

  jobStopped(): boolean {
    return listProc(`/proc/${this.pid}/task`).every((tid) => {
      const state = readStat(`/proc/${this.pid}/task/${tid}/stat`)?.fields[0]
      return state === 'T' || state === 'Z'
    })
  }

  is32Bit(): boolean {
    const header = Buffer.alloc(5)
    try {
      const file = openSync(`/proc/${this.#task}/exe`, 'r')
      readSync(file, header, 0, 5, 0)
      closeSync(file)
    } catch {
      return false
    }
    return header[4] === 1 // EI_CLASS: ELFCLASS32
  }

  privateBytes(): number {
    const text = readProc(`/proc/${this.#task}/smaps_rollup`) ?? ''
    const kib = (key: string): number => Number.parseInt(statusLine(text, key) ?? '0', 10)
    return (kib('Private_Clean') + kib('Private_Dirty')) * 1024
  }

  [Symbol.dispose](): void {
    this.#maps[Symbol.dispose]()
    this.pageTables[Symbol.dispose]()
    this.memory[Symbol.dispose]()
    this.#pageOut[Symbol.dispose]()
  }
}

/** The task whose /proc directory shows the memory. */
export function liveTask(pid: number): number {
  const alive = (tid: number): boolean => !'ZX'.includes(readStat(`/proc/${pid}/task/${tid}/stat`)?.fields[0] ?? 'X')
  return alive(pid) ? pid : listProc(`/proc/${pid}/task`).map(Number).find(alive) ?? pid
}

/** The parts of a shared object that exist, as pages of the mapping: reading a hole of shmem would fill it for good. */
function seekData(file: number, mapping: Mapping, pageBytes: number): PageRange[] {
  const ranges: PageRange[] = []
  const end = mapping.offset + (mapping.end - mapping.start) * pageBytes
  for (let at = mapping.offset; at < end;) {
    const data = systemCall(NR.lseek, file, at, SEEK_DATA)
    if (data < 0 || data >= end) break
    const hole = systemCall(NR.lseek, file, data, SEEK_HOLE)
    const stop = hole < 0 ? end : Math.min(hole, end)
    ranges.push({
      start: (mapping.start + Math.floor((data - mapping.offset) / pageBytes)) as PageNumber,
      end: (mapping.start + Math.ceil((stop - mapping.offset) / pageBytes)) as PageNumber,
    })
    at = stop
  }
  return ranges
}

/** io_uring/fdinfo.c: after `UserBufs:`, a line `index: 0xaddress/length` for each registered buffer. */
function parseFixedBuffers(text: string, shift: PageShift): PageRange[] {
  const ranges: PageRange[] = []
  const list = text.slice(text.indexOf('UserBufs:'))
  for (const [, start, length] of list.matchAll(/^\s*\d+: 0x([0-9a-f]+)\/(\d+)\s*$/gm)) {
    const from = Number.parseInt(start!, 16)
    ranges.push({
      start: Math.floor(from / 2 ** shift) as PageNumber,
      end: Math.ceil((from + Number(length)) / 2 ** shift) as PageNumber,
    })
  }
  return ranges
}
