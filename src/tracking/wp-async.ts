/**
 * tracking/ answers one question: which pages were written since the mark? It never copies a page's contents.
 *
 * wp-async: userfaultfd write-protection that the kernel resolves itself (Linux 6.7, x86-64; arm64 from 6.10).
 * A first write costs the target about 1 µs and nobody is asked; PAGEMAP_SCAN reads and re-arms in one pass.
 */
import type { PageNumber } from '../memory/address.ts'
import { isFileBacked, type Mapping } from '../memory/mapping.ts'
import type { PageRange } from '../memory/page-range.ts'
import type { RegionList } from '../memory/region-list.ts'
import { isTidemarkError, TidemarkError } from '../kernel/errors.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { PageState, type ScanOutcome } from '../kernel/page-tables.ts'
import type { Process } from '../kernel/process.ts'
import type { Userfault } from '../kernel/userfaults.ts'
import { whileStopped, type Stopped } from '../tracee/freeze.ts'
import { withHelper } from '../tracee/helper.ts'

/**
 * O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY. The last is what an unprivileged target may have: the call is made with
 * its rights, not ours. It only decides who may be made to wait, and with WP_ASYNC nobody is: writes that the kernel
 * makes for the program are seen all the same (do_wp_page(), mm/memory.c, Linux 6.18).
 */
const USERFAULTFD_FLAGS = 0o2004001

const POPULATED = PageState.present | PageState.swapped

/** What closing may visit while all threads stand: 128 MiB of pages of files, whose tracking cannot be dropped first. */
const VISITED_PAGES_MAX = 32_768

/**
 * Mappings are registered, and let go, only while all threads stand: the range is then that of whole mappings. A part of one
 * would become a mapping of its own, and the program's mremap over both would fail (EFAULT).
 */
export class WpAsyncTracker implements Disposable {
  readonly #kernel: Kernel
  readonly #process: Process
  readonly #freezeTimeoutNs: number
  readonly #wanted: (mapping: Mapping) => boolean
  readonly #userfault: Userfault
  readonly #refused = new Set<number>()
  readonly #cleared = new Set<number>()
  /** The longest stop that setting up and ending cost so far. */
  stopNsMax = 0

  /**
   * Registers every mapping that is `wanted`.
   * Errors: 'unsupported' when the kernel has no WP_ASYNC or the target no place for a remote call; those of whileStopped.
   */
  constructor(kernel: Kernel, process: Process, freezeTimeoutNs: number, wanted: (mapping: Mapping) => boolean) {
    this.#kernel = kernel
    this.#process = process
    this.#freezeTimeoutNs = freezeTimeoutNs
    this.#wanted = wanted
    this.#userfault = this.#whileStopped((stopped) => {
      const userfault = openInTarget(kernel, process, stopped)
      this.#register(userfault)
      return userfault
    })
  }

  #whileStopped<T>(body: (stopped: Stopped) => T extends PromiseLike<unknown> ? never : T): T {
    const { result, stopped } = whileStopped(this.#kernel, this.#process.pid, { timeoutNs: this.#freezeTimeoutNs, threads: 'all' }, (stopped) => ({ stopped, result: body(stopped) }))
    this.stopNsMax = Math.max(this.stopNsMax, stopped.releasedNs - stopped.startedNs)
    return result
  }

  #register(userfault: Userfault): void {
    for (const mapping of this.#process.mappings()) {
      if (this.#wanted(mapping) && userfault.registerAsync(mapping) !== 'registered') this.#refused.add(mapping.start)
    }
  }

  /** Whether the mapping cannot be registered: another userfaultfd owns it, or the kernel refuses its kind. */
  isRefused(mapping: Mapping): boolean {
    return this.#refused.has(mapping.start)
  }

  /** Stops the target for a moment to register mappings that have come since. */
  followNew(): void {
    this.#whileStopped(() => this.#register(this.#userfault))
  }

  /**
   * Ends the tracking without holding up the target. Closing alone would visit every page with the memory map locked,
   * 17 ms per GiB of 4 KiB pages, whether protected or not. So the protection is taken off in pieces first, and in a short
   * stop the tracking is dropped and the rest closed, which then has nothing to visit.
   */
  end(): void {
    try {
      this.#endGently()
    } catch (error) {
      if (!isTidemarkError(error)) throw error // A target that has ended, or does not stop, needs no gentleness.
    }
    this.#userfault[Symbol.dispose]()
  }

  #endGently(): void {
    const mappings = this.#tracked()
    for (const mapping of mappings) this.#userfault.unprotect(mapping)
    const visited = mappings.reduce((pages, mapping) => isFileBacked(mapping) ? pages + mapping.end - mapping.start : pages, 0)
    if (visited <= VISITED_PAGES_MAX) this.#whileStopped(() => this.#dropAndClose(mappings))
  }

  #tracked(): readonly Mapping[] {
    return this.#process.mappings().filter((mapping) => this.#wanted(mapping) && !this.isRefused(mapping))
  }

  /** A mark that stayed behind on a page would make the next tracking take it for clean (see {@link clearStale}). */
  #dropAndClose(unprotected: readonly Mapping[]): void {
    const done = new Map(unprotected.map(({ start, end }) => [start, end]))
    let dropped = 0
    for (const mapping of this.#tracked()) {
      if (isFileBacked(mapping)) continue
      if (done.get(mapping.start) !== mapping.end) this.#userfault.unprotect(mapping)
      if (this.#userfault.dropTracking(mapping) === 'dropped') dropped++
      else if (dropped === 0) return // This kernel does not let us; nothing has changed.
    }
    this.#userfault[Symbol.dispose]()
  }

  /**
   * Clears marks that an earlier tracking left on pages of a mapping that was just registered. The kernel leaves a marked
   * page as it is when asked to mark it again, although after such an end it can be written unseen.
   */
  clearStale(range: PageRange, found: RegionList): void {
    if (this.#cleared.has(range.start)) return
    this.#cleared.add(range.start)
    found.clear()
    const query = { all: 0, none: PageState.written, any: POPULATED, report: 0, protect: false, trackedOnly: true }
    if (this.#process.pageTables.scan(range, query, found).kind === 'full' || found.length > 0) this.#userfault.unprotect(range)
  }

  /** Whether the mapping is registered: one that has come since is not, even where another was. */
  isTracked(mapping: Mapping, found: RegionList): boolean {
    found.clear()
    return this.peekWritten({ start: mapping.start, end: (mapping.start + 1) as PageNumber }, found).kind !== 'untracked'
  }

  /**
   * Sets the mark on every populated page of the range and reports them. What is populated later counts as written.
   * Mappings that are not registered are skipped. (To stop there instead would lose what was marked before: the kernel
   * then returns an error in place of the number of regions.)
   */
  markAll(range: PageRange, found: RegionList): ScanOutcome {
    return this.#process.pageTables.scan(range, { all: 0, none: 0, any: POPULATED, report: PageState.zero, protect: true, trackedOnly: false }, found)
  }

  /**
   * Sets the mark on every page of a range of a file or of shared memory that has none, also where nothing is mapped: the
   * kernel keeps it there in a marker of its own, for the page that will be.
   */
  markUnmapped(range: PageRange, found: RegionList): ScanOutcome {
    return this.#process.pageTables.scan(range, { all: PageState.written, none: 0, any: 0, report: PageState.written, protect: true, trackedOnly: false }, found)
  }

  /** Reports the populated pages written since their mark, and sets it again in the same step. Skips as {@link markAll} does. */
  takeWritten(range: PageRange, found: RegionList): ScanOutcome {
    return this.#process.pageTables.scan(range, { all: PageState.written, none: 0, any: POPULATED, report: PageState.written, protect: true, trackedOnly: false }, found)
  }

  /**
   * Reports what is not as it was marked: written pages, and holes that were never marked or lost what they held.
   * Leaves the marks alone, and stops at a mapping that is not registered. The kernel's fast path: 0.4 ms per GiB of clean 4 KiB pages.
   */
  peekWritten(range: PageRange, found: RegionList): ScanOutcome {
    return this.#process.pageTables.scan(range, { all: PageState.written, none: 0, any: 0, report: PageState.written, protect: false, trackedOnly: true }, found)
  }

  /** As {@link peekWritten}, and besides what was marked and is unmapped now: a private file page may have lost its own content so. */
  peekChanged(range: PageRange, found: RegionList): ScanOutcome {
    return this.#process.pageTables.scan(range, { all: 0, none: 0, any: PageState.written | PageState.swapped, report: PageState.written, protect: false, trackedOnly: true }, found)
  }

  [Symbol.dispose](): void {
    this.#userfault[Symbol.dispose]()
  }
}

/** The call is made by a helper in the target, whose descriptor we copy; the helper's own goes with it. */
function openInTarget(kernel: Kernel, process: Process, stopped: Stopped): Userfault {
  const file = withHelper(kernel, process, stopped.threads[0]!, (helper) => {
    const remote = helper.call(kernel.architecture.calls.userfaultfd, [USERFAULTFD_FLAGS])
    return remote < 0 ? remote : kernel.tasks.takeFile(helper.pid, remote)
  })
  const userfault = file < 0 ? 'refused' : kernel.openUserfault(file)
  if (userfault !== 'refused') return userfault
  throw new TidemarkError('unsupported', 'the kernel does not track writes for us (userfaultfd with WP_ASYNC, Linux 6.7)', {
    pid: process.pid, hint: 'use --strategy fork or stop; `tidemark check` tells more',
  })
}
