import { fstatSync, openSync } from 'node:fs'
import type { PageNumber, PageShift } from '../memory/address.ts'
import type { Mapping } from '../memory/mapping.ts'
import type { PageRange } from '../memory/page-range.ts'
import { RegionList } from '../memory/region-list.ts'
import { PageState, type PageTables } from '../kernel/page-tables.ts'
import { allocateBlock } from './block.ts'
import { MAPPED_FILE_BLOCK_BYTES, MappedFile } from './mapped-file.ts'

/**
 * Appends what of a range is in swap, of a mapping of shared memory whose object has data throughout the range. Page tables do not
 * say so: swapped shared memory looks like a page that was never mapped. cachestat(2), Linux 6.5, counts what the object
 * has in memory; a count between none and all is halved until it is one or the other.
 */
export function findSwappedShared(path: string, mapping: Mapping, range: PageRange, shift: PageShift, pageTables: PageTables, found: RegionList): void {
  let file: number
  try {
    file = openSync(path, 'r')
  } catch {
    return
  }
  using block = allocateBlock(MAPPED_FILE_BLOCK_BYTES)
  using object = new MappedFile(file, fstatSync(file, { bigint: true }), shift, block)
  if (object.kind !== 'shmem') return
  const toObject = mapping.offset / 2 ** shift - mapping.start
  const residence = { cachedPages: 0, evictedPages: 0 }
  const halve = (start: number, end: number): void => {
    if (object.residence(start + toObject, end + toObject, residence) === 'unknown' || residence.cachedPages >= end - start) return
    if (residence.cachedPages === 0) {
      found.push(start, end)
      return
    }
    const middle = Math.floor((start + end) / 2)
    halve(start, middle)
    halve(middle, end)
  }
  for (const gap of unmapped(range, pageTables)) halve(gap.start, gap.end)
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
