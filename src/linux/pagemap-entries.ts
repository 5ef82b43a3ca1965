import { readSync } from 'node:fs'
import type { PageNumber } from '../memory/address.ts'
import type { PageRange } from '../memory/page-range.ts'
import type { RegionList } from '../memory/region-list.ts'
import { assert } from '../kernel/errors.ts'
import { AbsentEntry, PageState, type PageTables, type ScanOutcome, type ScanQuery } from '../kernel/page-tables.ts'

const ENTRY_BYTES = 8
const ENTRIES_AT_ONCE = 8192
/** Bits 55 to 58 and 61 to 63 of an entry (pagemap.rst): soft-dirty, mapped here only, protected by a userfaultfd, guard region (6.15), file page, swapped, present; here within its upper half. */
const SOFT_DIRTY = 1 << 23
const EXCLUSIVE = 1 << 24
const PROTECTED = 1 << 25
const GUARD = 1 << 26
const FILE = 1 << 29
const SWAPPED = 1 << 30
const PRESENT = 1 << 31
/** Of an entry that is not present, bits 0 to 4 tell the swap area, bits 5 to 54 the place in it. */
const TYPE = 0x1f
const PLACE_UPPER = 0x7f_ffff
/**
 * include/linux/swapops.h: area 31 stands for markers, and the place for which. Those before it, at most eight of them by the
 * kernel's configuration, are pages on the move or a device's; the first of them may be a page with a hardware fault.
 */
const MARKER_TYPE = 31
const MARKER_POISONED = 2
const MARKER_GUARD = 4
const MOVING_TYPE_LEAST = 23

/**
 * /proc/PID/pagemap read entry by entry: 10 to 20 ms per GiB instead of 4. Knows every PageState but `huge`; what may be
 * the zero page, or an anonymous page that a fork still shares, is called `zero`.
 */
export class PagemapEntries implements PageTables {
  readonly #file: number
  readonly #bytes = new Uint8Array(ENTRIES_AT_ONCE * ENTRY_BYTES)
  readonly #halves = new Uint32Array(this.#bytes.buffer)

  constructor(file: number) {
    this.#file = file
  }

  scan(range: PageRange, query: ScanQuery, found: RegionList): ScanOutcome {
    assert(!query.protect && !query.trackedOnly, 'entries can be read, not protected')
    return this.#walk(range, found, (_lower, upper) => {
      const state = stateOf(upper)
      const matches = (state & query.all) === query.all && (state & query.none) === 0 && (query.any === 0 || (state & query.any) !== 0)
      return matches ? state & query.report : undefined
    })
  }

  absent(range: PageRange, found: RegionList): ScanOutcome {
    return this.#walk(range, found, (lower, upper) => ((upper & SWAPPED) === 0 ? undefined : absentEntry(lower, upper)))
  }

  lost(range: PageRange, found: RegionList): ScanOutcome {
    return this.#walk(range, found, (lower, upper) => ((upper & SWAPPED) !== 0 && mayBeMarker(absentEntry(lower, upper)) ? PageState.swapped : undefined))
  }

  /** Appends the pages for which `judge`, given the halves of an entry, has a state to report. */
  #walk(range: PageRange, found: RegionList, judge: (lower: number, upper: number) => number | undefined): ScanOutcome {
    for (let from: number = range.start; from < range.end; from += ENTRIES_AT_ONCE) {
      const count = Math.min(ENTRIES_AT_ONCE, range.end - from)
      const entries = readSync(this.#file, this.#bytes, 0, count * ENTRY_BYTES, from * ENTRY_BYTES) / ENTRY_BYTES
      if (entries === 0) return { kind: 'gone' }
      for (let i = 0; i < entries; i++) {
        const state = judge(this.#halves[2 * i]!, this.#halves[2 * i + 1]!)
        if (state === undefined) continue
        if (!append(found, from + i, state)) return { kind: 'full', next: (from + i) as PageNumber }
      }
    }
    return { kind: 'done' }
  }
}

/** Place 0 of area 0 is the area's own header: an entry of zeros is one whose place we are not told. */
function absentEntry(lower: number, upper: number): number {
  if ((upper & GUARD) !== 0) return AbsentEntry.guard
  if (lower === 0 && (upper & PLACE_UPPER) === 0) return (upper & PROTECTED) !== 0 ? AbsentEntry.hiddenProtected : AbsentEntry.hidden
  const type = lower & TYPE
  if (type < MOVING_TYPE_LEAST) return AbsentEntry.swap
  if (type !== MARKER_TYPE) return AbsentEntry.moving
  const marker = lower >>> 5
  if ((marker & MARKER_GUARD) !== 0) return AbsentEntry.guard
  return (marker & MARKER_POISONED) !== 0 ? AbsentEntry.poisoned : AbsentEntry.protected
}

function mayBeMarker(entry: number): boolean {
  return entry !== AbsentEntry.swap && entry !== AbsentEntry.moving
}

function stateOf(upperHalf: number): number {
  const state = (upperHalf & PROTECTED) === 0 ? PageState.written : 0
  if ((upperHalf & (PRESENT | SWAPPED)) === 0) return state
  return state | ((upperHalf & PRESENT) !== 0 ? PageState.present : PageState.swapped) | ((upperHalf & FILE) !== 0 ? PageState.file : 0)
    | ((upperHalf & SOFT_DIRTY) !== 0 ? PageState.softDirty : 0) | ((upperHalf & GUARD) !== 0 ? PageState.guard : 0)
    | ((upperHalf & (PRESENT | FILE | EXCLUSIVE)) >>> 0 === PRESENT >>> 0 ? PageState.zero : 0)
}

/** Makes the last region longer where it can. */
function append(found: RegionList, page: number, state: number): boolean {
  const last = found.length - 1
  if (last >= 0 && found.ends[last] === page && found.states[last] === state) {
    found.ends[last] = page + 1
    return true
  }
  return found.push(page, page + 1, state)
}
