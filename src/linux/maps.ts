import { closeSync, openSync } from 'node:fs'
import type { PageShift } from '../memory/address.ts'
import type { Mapping } from '../memory/mapping.ts'
import type { FlaggedDetail } from '../kernel/address-space.ts'
import { TidemarkError } from '../kernel/errors.ts'
import { readProc, readWhole } from './proc.ts'

/**
 * /proc/PID/maps, held open and parsed only when its bytes have changed: in the pause the usual answer
 * is that they have not.
 */
export class MapsFile implements Disposable {
  readonly #file: number
  readonly #shift: PageShift
  #text = Buffer.alloc(0)
  #mappings: readonly Mapping[] = []

  constructor(pid: number, shift: PageShift) {
    this.#file = openSync(`/proc/${pid}/maps`, 'r')
    this.#shift = shift
  }

  #read(): readonly Mapping[] {
    const bytes = readWhole(this.#file)
    if (bytes.equals(this.#text)) return this.#mappings
    this.#text = Buffer.from(bytes)
    this.#mappings = parseMaps(bytes.toString('utf8'), this.#shift)
    return this.#mappings
  }

  /** None are left when the memory we opened has gone: the process ended, or runs another program in a memory of its own. Throws 'gone' then. */
  mappings(pid: number, when: string): readonly Mapping[] {
    const mappings = this.#readOrNone()
    if (mappings.length === 0) throw new TidemarkError('gone', `process ${pid} ended or executed another program ${when}`, { pid })
    return mappings
  }

  #readOrNone(): readonly Mapping[] {
    try {
      return this.#read()
    } catch {
      return [] // ESRCH
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#file)
  }
}

/** The link to what is behind a mapping. */
export function mapFilePath(task: number, mapping: Mapping, shift: PageShift): string {
  const hex = (page: number): string => (BigInt(page) << BigInt(shift)).toString(16)
  return `/proc/${task}/map_files/${hex(mapping.start)}-${hex(mapping.end)}`
}

/** `start-end perms offset device inode path`, proc_pid_maps(5). A newline in a path is printed as `\012`. */
export function parseMaps(text: string, shift: PageShift): Mapping[] {
  const mappings: Mapping[] = []
  for (const line of text.split('\n')) {
    const mapping = parseLine(line, shift)
    if (mapping !== undefined) mappings.push(mapping)
  }
  return mappings
}

const LINE = /^([0-9a-f]+)-([0-9a-f]+) (.)(.)(.)(.) ([0-9a-f]+) ([0-9a-f]+:[0-9a-f]+) (\d+)\s*(.*)$/

function parseLine(line: string, shift: PageShift): Mapping | undefined {
  const m = LINE.exec(line)
  if (m === null) return undefined
  return {
    start: pageFromHex(m[1]!, shift), end: pageFromHex(m[2]!, shift),
    readable: m[3] === 'r', writable: m[4] === 'w', executable: m[5] === 'x', shared: m[6] === 's',
    offset: Number.parseInt(m[7]!, 16), device: m[8]!, inode: Number(m[9]!), path: m[10]!.replaceAll('\\012', '\n'),
  }
}

/** Exact for every page-aligned address, [vsyscall]'s too: its trailing zero bits are all a double drops. */
function pageFromHex(hex: string, shift: PageShift): Mapping['start'] {
  return (Number.parseInt(hex, 16) / 2 ** shift) as Mapping['start']
}

const NO_DETAIL: FlaggedDetail = {
  dontDump: false, special: false, hugetlb: false, missingInFork: false, hasAnonymous: false,
  swapped: false, sharesPages: false, flags: new Set(), swapBytes: 0,
}

/** Lines of smaps, in KiB. */
const NO_SIZES = { Anonymous: 0, Swap: 0, SwapPss: 0, Private_Hugetlb: 0, Shared_Clean: 0, Shared_Dirty: 0 }
type Sizes = typeof NO_SIZES

/** Reads /proc/PID/smaps: VmFlags (proc_pid_smaps(5)) and how much of each mapping is its own. */
export function readDetails(pid: number, shift: PageShift): Map<number, FlaggedDetail> {
  const details = new Map<number, FlaggedDetail>()
  let start = -1
  let sizes = { ...NO_SIZES }
  for (const line of (readProc(`/proc/${pid}/smaps`) ?? '').split('\n')) {
    if (line.startsWith('VmFlags:')) {
      details.set(start, detailOf(line, sizes))
    } else if (beginsMapping(line)) {
      start = pageFromHex(line.slice(0, line.indexOf('-')), shift)
      sizes = { ...NO_SIZES }
      details.set(start, NO_DETAIL)
    } else {
      const key = line.slice(0, line.indexOf(':'))
      if (key in sizes) sizes[key as keyof Sizes] = Number.parseInt(line.slice(key.length + 1), 10)
    }
  }
  return details
}

/** The line with the addresses: all others begin with a capital letter. */
function beginsMapping(line: string): boolean {
  const first = line.charCodeAt(0)
  return (first >= 0x30 && first <= 0x39) || (first >= 0x61 && first <= 0x66)
}

function detailOf(line: string, sizes: Sizes): FlaggedDetail {
  const flags = new Set(line.slice('VmFlags:'.length).trim().split(' '))
  return {
    dontDump: flags.has('dd'),
    special: flags.has('io') || flags.has('pf'),
    hugetlb: flags.has('ht'),
    missingInFork: flags.has('dc') || flags.has('wf'),
    hasAnonymous: sizes.Anonymous + sizes.Swap + sizes.Private_Hugetlb > 0,
    swapped: sizes.Swap > 0,
    sharesPages: sizes.Shared_Clean + sizes.Shared_Dirty > 0 || sizes.SwapPss < sizes.Swap,
    flags, swapBytes: sizes.Swap * 1024,
  }
}
