import { closeSync, ftruncateSync, openSync, statfsSync, unlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { fileURLToPath } from 'node:url'
import type { PageNumber, PageShift } from '../../memory/address.ts'
import type { PageRange } from '../../memory/page-range.ts'
import { allocateBlock } from '../block.ts'
import { callFailed } from '../errno.ts'
import { systemCall, viewMemory } from '../ffi.ts'
import { statusLine, readProc } from '../proc.ts'
import { NR } from '../system-calls.ts'

/** Memory of ours of one kind, its first page populated, to try something on. */
export interface Sample extends Disposable {
  readonly address: number
  readonly bytes: Uint8Array
  readonly range: PageRange
  /** What is special about it; empty when nothing is. */
  readonly note: string
}

const PROT_READ_WRITE = 3
const MAP = { shared: 1, private: 2, anonymous: 0x20, hugetlb: 0x4_0000 }
const CLOCK_MONOTONIC = 1
const MFD_CLOEXEC = 1
const TMPFS_MAGIC = 0x0102_1994

/** The kinds of memory that the kernel follows writes in by different code. */
export const SAMPLES = {
  anon: (shift: PageShift) => mapSample(4 << shift, MAP.private | MAP.anonymous, -1, shift),
  privateFile(shift: PageShift) {
    const file = openSync(fileURLToPath(import.meta.url), 'r') // Any file that can be read will do.
    return mapAndClose(file, MAP.private, shift, closeSync)
  },
  sharedFile(shift: PageShift) {
    const { file, note } = temporaryFile()
    return mapAndClose(file, MAP.shared, shift, closeSync, note)
  },
  shmem: (shift: PageShift) => mapAndClose(memoryFile(1 << shift), MAP.shared, shift, closeRaw),
  /** mmap reserves the page: ENOMEM there means that the pool is empty. */
  hugetlb: (shift: PageShift) => mapSample(hugePageBytes(), MAP.private | MAP.anonymous | MAP.hugetlb, -1, shift),
} as const

/** Throws the kernel's refusal as a TidemarkError. */
export function mapSample(length: number, flags: number, file: number, shift: PageShift, note = ''): Sample {
  const address = systemCall(NR.mmap, 0, length, PROT_READ_WRITE, flags, file, 0)
  if (address < 0) throw callFailed('mmap', address)
  const sample = {
    address, note,
    bytes: new Uint8Array(viewMemory(address, length)),
    range: { start: (address / 2 ** shift) as PageNumber, end: ((address + length) / 2 ** shift) as PageNumber },
    [Symbol.dispose]: () => void systemCall(NR.munmap, address, length),
  }
  const touched = touch(address)
  if (touched < 0) {
    sample[Symbol.dispose]()
    throw callFailed('the first write', touched)
  }
  return sample
}

/**
 * Has the kernel write the page first: where there is none to be had (a full disk, a hugetlb limit of the cgroup)
 * it returns EFAULT, and our own write would be a SIGBUS that ends the program.
 */
function touch(address: number): number {
  return systemCall(NR.clockGettime, CLOCK_MONOTONIC, address)
}

function mapAndClose(file: number, flags: number, shift: PageShift, close: (file: number) => void, note = ''): Sample {
  try {
    return mapSample(1 << shift, flags, file, shift, note)
  } finally {
    close(file)
  }
}

/** In a worker Node keeps a list of the files it opened, and warns when it closes another. */
export function closeRaw(file: number): void {
  systemCall(NR.close, file)
}

/** A memfd of that length, to be closed with {@link closeRaw}. */
export function memoryFile(length: number): number {
  using name = allocateBlock(4096)
  name.bytes.set(Buffer.from('tidemark\0'))
  const file = systemCall(NR.memfdCreate, name.address, MFD_CLOEXEC)
  if (file < 0) throw callFailed('memfd_create', file)
  ftruncateSync(file, length)
  return file
}

/** One on a disk if there is any: a file in a tmpfs is shared memory. */
function temporaryFile(): { readonly file: number; readonly note: string } {
  const [first, second] = [tmpdir(), '/var/tmp'].toSorted((a, b) => Number(isTmpfs(a)) - Number(isTmpfs(b)))
  const open = (directory: string) => ({ file: unnamedFile(directory), note: isTmpfs(directory) ? `tried in ${directory}, which is a tmpfs` : '' })
  try {
    return open(first!)
  } catch {
    return open(second!)
  }
}

function isTmpfs(directory: string): boolean {
  try {
    return statfsSync(directory).type === TMPFS_MAGIC
  } catch {
    return true
  }
}

function unnamedFile(directory: string): number {
  const path = `${directory}/.tidemark-check-${process.pid}-${process.hrtime.bigint()}`
  const file = openSync(path, 'wx+', 0o600)
  unlinkSync(path)
  ftruncateSync(file, 1 << 16)
  return file
}

/** The default size of hugetlb pages. */
function hugePageBytes(): number {
  return Number.parseInt(statusLine(readProc('/proc/meminfo') ?? '', 'Hugepagesize') ?? '2048', 10) * 1024
}
