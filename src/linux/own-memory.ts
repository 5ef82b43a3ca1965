import { closeSync, openSync } from 'node:fs'
import { pageShift, type PageNumber, type PageShift } from '../memory/address.ts'
import { RegionList } from '../memory/region-list.ts'
import type { OwnMemory, OwnTracking } from '../kernel/own-memory.ts'
import { PageState, type PageTables } from '../kernel/page-tables.ts'
import type { Userfault } from '../kernel/userfaults.ts'
import { allocateBlock } from './block.ts'
import { refusalOf } from './capabilities/attempt.ts'
import { openDevice } from './capabilities/userfaultfd.ts'
import { errnoName } from './errno.ts'
import { addressOfBytes, pageBytes, systemCall } from './ffi.ts'
import { parseMaps } from './maps.ts'
import { PagemapFile } from './pagemap.ts'
import { readProc } from './proc.ts'
import { NR } from './system-calls.ts'
import { openUserfault } from './userfault.ts'

const O_CLOEXEC = 0o2000000
const O_NONBLOCK = 0o4000
/** Anybody may have it (Linux 5.11), and with WP_ASYNC it sees the kernel's own writes all the same. */
const USER_MODE_ONLY = 1

/** The memory of this process. Any thread may have one; each has its userfaultfd to itself. */
export function openOwnMemory(): OwnMemory {
  const shift = pageShift(pageBytes())
  return {
    pageShift: shift,
    addressOf: addressOfBytes,
    // memcmp(3) without an array for each piece.
    differ: (a, b, start, end) => Buffer.prototype.compare.call(a, b, start, end, start, end) !== 0,
    mappings: () => parseMaps(readProc('/proc/self/maps') ?? '', shift),
    openTracking: () => openTracking(shift),
  }
}

function openTracking(shift: PageShift): OwnTracking | string {
  const opened: Disposable[] = []
  const close = (): void => { for (const one of opened.splice(0)) one[Symbol.dispose]() }
  try {
    const tracking = openInto(opened, shift, close)
    if (typeof tracking === 'string') close()
    return tracking
  } catch (error) {
    close()
    const refusal = refusalOf(error)
    if (refusal === undefined) throw error
    return refusal
  }
}

function openInto(opened: Disposable[], shift: PageShift, close: () => void): OwnTracking | string {
  const pageTables = new PagemapFile('self', shift)
  opened.push(pageTables)
  const file = openUserfaultfd()
  if (file < 0) return `userfaultfd: ${errnoName(file)}`
  const userfault = openUserfault(ownByNode(file), shift, 'async', closeSync)
  if (userfault === 'refused') return 'userfaultfd has no WP_ASYNC here (Linux 6.7)'
  opened.push(userfault)
  return tryOut(userfault, pageTables, shift) ?? { userfault, pageTables, [Symbol.dispose]: close }
}

/** By the system call, or where a container's filter forbids that, by the device (Linux 6.1). */
function openUserfaultfd(): number {
  const file = systemCall(NR.userfaultfd, O_CLOEXEC | O_NONBLOCK | USER_MODE_ONLY)
  if (file >= 0) return file
  const fromDevice = openDevice(USER_MODE_ONLY)
  return fromDevice >= 0 ? fromDevice : file
}

/**
 * A worker that is terminated runs nothing of ours any more, but Node closes the files that it opened for the worker. So the
 * userfaultfd takes the place of such a file, and no registration outlives the thread that made it.
 */
function ownByNode(file: number): number {
  try {
    const place = openSync('/proc/self/pagemap', 'r')
    systemCall(NR.dup3, file, place, O_CLOEXEC)
    return place
  } finally {
    systemCall(NR.close, file)
  }
}

/** Follows a page of ours once: what only pretends to be such a kernel is found out here. */
function tryOut(userfault: Userfault, pageTables: PageTables, shift: PageShift): string | undefined {
  using block = allocateBlock(2 ** shift)
  const start = (block.address / 2 ** shift) as PageNumber
  const page = { start, end: (start + 1) as PageNumber }
  const found = new RegionList(1)
  const isWritten = (protect: boolean): boolean => {
    found.clear()
    pageTables.scan(page, { all: PageState.written, none: 0, any: 0, report: PageState.written, protect, trackedOnly: false }, found)
    return found.length > 0
  }
  if (userfault.register(page) !== 'registered') return 'memory of our own cannot be registered with userfaultfd'
  const seen = [isWritten(true), isWritten(false)]
  block.bytes[0] = 1
  return seen[0] === true && seen[1] === false && isWritten(false) ? undefined : 'this kernel does not follow writes as it should'
}
