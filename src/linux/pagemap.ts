import { closeSync, openSync } from 'node:fs'
import type { PageNumber, PageShift } from '../memory/address.ts'
import type { PageRange } from '../memory/page-range.ts'
import type { RegionList } from '../memory/region-list.ts'
import { PageState, type PageTables, type ScanOutcome, type ScanQuery } from '../kernel/page-tables.ts'
import { allocateBlock, getU64, putU64 } from './block.ts'
import { callFailed, errno } from './errno.ts'
import { systemCall } from './ffi.ts'
import { PagemapEntries } from './pagemap-entries.ts'
import { NR } from './system-calls.ts'

/** include/uapi/linux/fs.h, Linux 6.7: `_IOWR('f', 16, struct pm_scan_arg)`, 96 bytes, and its flags. */
const PAGEMAP_SCAN = 0xc060_6610
const WP_MATCHING = 1
const CHECK_WPASYNC = 2
const ARGUMENT_BYTES = 96
/** struct page_region: start, end, categories. */
const REGION_BYTES = 24
const REGIONS_MAX = 2048

/** The categories that this kernel's scan knows, found by asking: it refuses others with EINVAL. */
let known = ~0

/**
 * PAGEMAP_SCAN on /proc/PID/pagemap. It needs only permission to read the process, takes no part of the
 * target's cooperation, and works on another process's file with WP_MATCHING too.
 * A kernel without it (before 6.7) has the entries themselves, which tell what is populated but not what was written.
 */
export class PagemapFile implements PageTables, Disposable {
  readonly #file: number
  readonly #pageBytes: number
  readonly #block = allocateBlock(ARGUMENT_BYTES + REGIONS_MAX * REGION_BYTES)
  readonly #words = new Uint32Array(this.#block.bytes.buffer)
  readonly #entries: PagemapEntries

  constructor(pid: number | 'self', shift: PageShift) {
    this.#file = openSync(`/proc/${pid}/pagemap`, 'r')
    this.#pageBytes = 2 ** shift
    this.#entries = new PagemapEntries(this.#file)
  }

  scan(range: PageRange, query: ScanQuery, found: RegionList): ScanOutcome {
    const words = this.#words
    let from: number = range.start
    while (from < range.end) {
      const room = Math.min(found.capacity - found.length, REGIONS_MAX)
      if (room === 0) return { kind: 'full', next: from as PageNumber }
      this.#fillArgument(from, range.end, query, room)
      const regions = systemCall(NR.ioctl, this.#file, PAGEMAP_SCAN, this.#block.address)
      const walkEnd = getU64(words, 8) / this.#pageBytes
      // walk_end then is the end where the first mapping was at fault, else at most that mapping's start.
      if (regions === -errno.EPERM && query.trackedOnly) return { kind: 'untracked', at: (walkEnd < range.end ? Math.max(from, walkEnd) : from) as PageNumber }
      if (regions === -errno.ESRCH) return { kind: 'gone' }
      if (regions === -errno.ENOTTY) return this.#entries.scan(range, query, found)
      if (regions === -errno.EINVAL && (known & (query.all | query.none | query.any | query.report) & PageState.guard) !== 0) {
        known &= ~PageState.guard
        continue
      }
      if (regions < 0) throw callFailed('scanning page tables', regions)
      this.#collect(regions, found)
      // A list with room left means that the walk came to its end; walk_end then may lie before it (512 regions are
      // gathered at a time, and it is only set when such a batch is full: do_pagemap_scan(), Linux 6.18).
      if (regions < room && this.#pagesFound(regions) < (query.pagesAtOnce ?? Infinity)) return { kind: 'done' }
      from = Math.max(walkEnd, found.ends[found.length - 1]!)
    }
    return { kind: 'done' }
  }

  lost(range: PageRange, found: RegionList): ScanOutcome {
    return this.#entries.lost(range, found)
  }

  #fillArgument(from: number, to: number, query: ScanQuery, room: number): void {
    const words = this.#words
    words.fill(0, 0, ARGUMENT_BYTES / 4)
    words[0] = ARGUMENT_BYTES
    words[2] = (query.protect ? WP_MATCHING : 0) | (query.trackedOnly ? CHECK_WPASYNC : 0)
    putU64(words, 4, from * this.#pageBytes)
    putU64(words, 6, to * this.#pageBytes)
    putU64(words, 10, this.#block.address + ARGUMENT_BYTES)
    words[12] = room
    words[14] = query.pagesAtOnce ?? 0
    words[16] = query.none & known // inverted, so that each must be absent
    words[18] = (query.all | query.none) & known
    words[20] = query.any & known
    words[22] = query.report & known
  }

  absent(range: PageRange, found: RegionList): ScanOutcome {
    return this.#entries.absent(range, found)
  }

  #pagesFound(regions: number): number {
    let bytes = 0
    for (let i = 0; i < regions; i++) {
      const at = (ARGUMENT_BYTES + i * REGION_BYTES) / 4
      bytes += getU64(this.#words, at + 2) - getU64(this.#words, at)
    }
    return bytes / this.#pageBytes
  }

  /** The hot loop of every scan: columns are filled without a call for each region. Precondition: there is room. */
  #collect(regions: number, found: RegionList): void {
    const words = this.#words
    const { starts, ends, states } = found
    const low = 1 / this.#pageBytes
    const high = 2 ** 32 / this.#pageBytes
    let to = found.length
    for (let i = 0, at = ARGUMENT_BYTES / 4; i < regions; i++, at += REGION_BYTES / 4, to++) {
      starts[to] = words[at]! * low + words[at + 1]! * high
      ends[to] = words[at + 2]! * low + words[at + 3]! * high
      states[to] = words[at + 4]!
    }
    found.length = to
  }

  [Symbol.dispose](): void {
    closeSync(this.#file)
    this.#block[Symbol.dispose]()
  }
}
