/**
 * tracking/ answers one question: which pages were written since the mark? It never copies a page's contents.
 *
 * wp-async: userfaultfd write-protection that the kernel resolves itself (Linux 6.7, x86-64; arm64 from 6.10).
 * A first write costs the target about 1 µs and nobody is asked; PAGEMAP_SCAN reads and re-arms in one pass.
 */
import type { Mapping } from '../memory/mapping.ts'
import type { PageRange } from '../memory/page-range.ts'
import type { RegionList } from '../memory/region-list.ts'
import { TidemarkError } from '../kernel/errors.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { PageState, type ScanOutcome } from '../kernel/page-tables.ts'
import type { Process } from '../kernel/process.ts'
import type { Userfault } from '../kernel/userfaults.ts'
import { whileStopped } from '../tracee/freeze.ts'
import { withHelper } from '../tracee/helper.ts'

/**
 * O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY. The last is what an unprivileged target may have: the call is made with
 * its rights, not ours. It only decides who may be made to wait, and with WP_ASYNC nobody is: writes that the kernel
 * makes for the program are seen all the same (do_wp_page(), mm/memory.c, Linux 6.18).
 */
const USERFAULTFD_FLAGS = 0o2004001

const POPULATED = PageState.present | PageState.swapped

export class WpAsyncTracker implements Disposable {
  readonly #process: Process
  readonly #userfault: Userfault
  /** How long the one thread stood still that made the userfaultfd. */
  readonly armingNs: number

  /** Errors: 'unsupported' when the kernel has no WP_ASYNC or the target no place for a remote call; those of whileStopped. */
  constructor(kernel: Kernel, process: Process, freezeTimeoutNs: number) {
    this.#process = process
    const start = kernel.clock.nowNs()
    const file = whileStopped(kernel, process.pid, { timeoutNs: freezeTimeoutNs, threads: 'any' }, (stopped) =>
      withHelper(kernel, process, stopped.threads[0]!, (helper) => {
        const remote = helper.call(kernel.architecture.calls.userfaultfd, [USERFAULTFD_FLAGS])
        return remote < 0 ? remote : kernel.tasks.takeFile(helper.pid, remote)
      }))
    this.armingNs = kernel.clock.nowNs() - start
    const userfault = file < 0 ? 'refused' : kernel.openUserfault(file)
    if (userfault === 'refused') {
      throw new TidemarkError('unsupported', 'the kernel does not track writes for us (userfaultfd with WP_ASYNC, Linux 6.7)', {
        pid: process.pid, hint: 'use --strategy fork or stop; `tidemark check` tells more',
      })
    }
    this.#userfault = userfault
  }

  /** Registers a mapping; 'untrackable' when another userfaultfd owns it or the kernel refuses its kind. */
  follow(mapping: Mapping): 'followed' | 'untrackable' | 'gone' {
    const outcome = this.#userfault.registerAsync(mapping)
    if (outcome === 'registered') return 'followed'
    return outcome === 'gone' ? 'gone' : 'untrackable'
  }

  /** Sets the mark on every populated page of the range and reports them. What is populated later counts as written. */
  markAll(range: PageRange, found: RegionList): ScanOutcome {
    return this.#process.pageTables.scan(range, { all: 0, any: POPULATED, report: PageState.zero, protect: true, trackedOnly: true }, found)
  }

  /** Reports the populated pages written since their mark, and sets it again in the same step. */
  takeWritten(range: PageRange, found: RegionList): ScanOutcome {
    return this.#process.pageTables.scan(range, { all: PageState.written, any: POPULATED, report: PageState.written, protect: true, trackedOnly: true }, found)
  }

  /**
   * Reports what is not as it was marked: written pages, and holes that were never marked or lost what they held.
   * Leaves the marks alone. The kernel's fast path: 0.4 ms per GiB of clean 4 KiB pages.
   */
  peekWritten(range: PageRange, found: RegionList): ScanOutcome {
    return this.#process.pageTables.scan(range, { all: PageState.written, any: 0, report: PageState.written, protect: false, trackedOnly: true }, found)
  }

  /** As {@link peekWritten}, and besides what was marked and is unmapped now: a private file page may have lost its own content so. */
  peekChanged(range: PageRange, found: RegionList): ScanOutcome {
    return this.#process.pageTables.scan(range, { all: 0, any: PageState.written | PageState.swapped, report: PageState.written, protect: false, trackedOnly: true }, found)
  }

  /** Ends the tracking of a mapping without holding up the target. */
  unfollow(range: PageRange): void {
    this.#userfault.unregister(range)
  }

  [Symbol.dispose](): void {
    this.#userfault[Symbol.dispose]()
  }
}
