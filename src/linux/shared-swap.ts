import { closeSync, openSync, statfsSync } from 'node:fs'
import type { PageNumber, PageShift } from '../memory/address.ts'
import type { Mapping } from '../memory/mapping.ts'
import type { PageRange } from '../memory/page-range.ts'
import { RegionList } from '../memory/region-list.ts'
import { PageState, type PageTables } from '../kernel/page-tables.ts'
import { allocateBlock, getU64, putU64 } from './block.ts'
import { systemCall } from './ffi.ts'
import { NR } from './system-calls.ts'

const TMPFS_MAGIC = 0x0102_1994

/**
 * Appends what of a range is in swap, of a mapping of shared memory whose object has data throughout the range. Page tables do not
 * say so: swapped shared memory looks like a page that was never mapped. cachestat(2), Linux 6.5, counts what the object
 * has in memory; a count between none and all is halved until it is one or the other.
 */
export function findSwappedShared(path: string, mapping: Mapping, range: PageRange, shift: PageShift, pageTables: PageTables, found: RegionList): void {
  let file: number
  try {
    if (statfsSync(path).type !== TMPFS_MAGIC) return
    file = openSync(path, 'r')
  } catch {
    return
  }
  using block = allocateBlock(4096)
  const words = new Uint32Array(block.bytes.buffer)
  const cached = (start: number, end: number): number => {
    putU64(words, 0, mapping.offset + (start - mapping.start) * 2 ** shift)
    putU64(words, 2, (end - start) * 2 ** shift)
    return systemCall(NR.cachestat, file, block.address, block.address + 1024, 0) < 0 ? end - start : getU64(words, 256)
  }
  const halve = (start: number, end: number): void => {
    const count = cached(start, end)
    if (count >= end - start) return
    if (count === 0) {
      found.push(start, end)
      return
    }
    const middle = Math.floor((start + end) / 2)
    halve(start, middle)
    halve(middle, end)
  }
  try {
    for (const gap of unmapped(range, pageTables)) halve(gap.start, gap.end)
  } finally {
    closeSync(file)
  }
}

/** Mapped pages are in memory; what lies between them may be. */
function unmapped(range: PageRange, pageTables: PageTables): PageRange[] {
  const present = new RegionList(512)
  const gaps: PageRange[] = []
  const query = { all: PageState.present, none: 0, any: 0, report: PageState.present, protect: false, trackedOnly: false }
  let at = range.start
  for (let more = true; more;) {
    present.clear()
    more = pageTables.scan({ start: at, end: range.end }, query, present).kind === 'full'
    for (let i = 0; i < present.length; i++) {
      if (present.starts[i]! > at) gaps.push({ start: at, end: present.starts[i]! as PageNumber })
      at = present.ends[i]! as PageNumber
    }
  }
  if (at < range.end) gaps.push({ start: at, end: range.end })
  return gaps
}
