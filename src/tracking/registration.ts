import { isFileBacked, type Mapping } from '../memory/mapping.ts'
import { PageSpans } from '../memory/page-spans.ts'
import { assert, isTidemarkError, TidemarkError } from '../kernel/errors.ts'
import type { Kernel } from '../kernel/kernel.ts'
import type { Process } from '../kernel/process.ts'
import type { Userfault, WriteProtection } from '../kernel/userfaults.ts'
import { whileStopped, type Stopped } from '../tracee/freeze.ts'
import { withHelper } from '../tracee/helper.ts'

/** O_CLOEXEC | O_NONBLOCK, and UFFD_USER_MODE_ONLY. */
const FILE_FLAGS = 0o2004000
const USER_MODE_ONLY = 1

/** What closing may visit while all threads stand: 128 MiB of pages of files, whose tracking cannot be dropped first. */
const VISITED_PAGES_MAX = 32_768

/**
 * A userfaultfd made inside the target and held by us, with whole mappings registered for write-protection.
 *
 * Mappings are registered, and let go, only while all threads stand: the range is then that of whole mappings. A part of one
 * would become a mapping of its own, and the program's mremap over both would fail (EFAULT).
 */
export class Registration implements Disposable {
  readonly #kernel: Kernel
  readonly #process: Process
  readonly #protection: WriteProtection
  readonly #freezeTimeoutNs: number
  readonly #refused = new Set<number>()
  readonly #registered = new PageSpans()
  #userfault: Userfault | undefined
  /** The longest stop that setting up and ending cost so far. */
  stopNsMax = 0

  constructor(kernel: Kernel, process: Process, protection: WriteProtection, freezeTimeoutNs: number) {
    this.#kernel = kernel
    this.#process = process
    this.#protection = protection
    this.#freezeTimeoutNs = freezeTimeoutNs
  }

  get isOpen(): boolean {
    return this.#userfault !== undefined
  }

  /** Precondition: a mapping was registered. */
  get userfault(): Userfault {
    assert(this.#userfault !== undefined, 'a mapping was registered')
    return this.#userfault
  }

  /**
   * Registers a mapping, and makes the userfaultfd first where there is none yet. Precondition: all threads stand.
   * Errors: 'unsupported' when the kernel has no such protection or the target no place for a remote call.
   */
  register(stopped: Stopped, mapping: Mapping): 'adopted' | 'owned' | 'refused' {
    this.#userfault ??= this.#openInTarget(stopped)
    const outcome = this.#userfault.register(mapping)
    if (outcome !== 'registered') this.#refused.add(mapping.start)
    else {
      this.#refused.delete(mapping.start)
      this.#registered.add(mapping.start, mapping.end)
      this.#registered.sort()
    }
    return outcome === 'registered' ? 'adopted' : outcome === 'owned' ? 'owned' : 'refused'
  }

  /** Stops the target for a moment to register every mapping that is `wanted` and not yet registered. */
  registerAll(wanted: (mapping: Mapping) => boolean): void {
    this.#whileStopped((stopped) => {
      for (const mapping of this.#process.mappings()) if (wanted(mapping)) this.register(stopped, mapping)
    })
  }

  /** What is not mapped any more is not registered any more, whatever comes in its place. */
  forgetAllBut(mappings: readonly Mapping[]): void {
    this.#registered.keepWithin(mappings)
  }

  /** Whether what is now there began as a mapping that we registered. Another userfaultfd's mappings are none of our business. */
  covers(mapping: Mapping): boolean {
    return this.#registered.has(mapping.start) && !this.#refused.has(mapping.start)
  }

  /** Whether the mapping cannot be registered: another userfaultfd owns it, or the kernel refuses its kind. */
  isRefused(mapping: Mapping): boolean {
    return this.#refused.has(mapping.start)
  }

  #whileStopped(body: (stopped: Stopped) => void): void {
    const meanwhile = (): void => void this.#serve(0)
    const options = { timeoutNs: this.#freezeTimeoutNs, threads: 'all' as const, ...(this.#protection === 'sync' && { meanwhile }) }
    const stopped = whileStopped(this.#kernel, this.#process.pid, options, (stopped) => {
      body(stopped)
      return stopped
    })
    this.stopNsMax = Math.max(this.stopNsMax, stopped.releasedNs - stopped.startedNs)
  }

  #serve(waitNs: number): number {
    return this.#userfault?.serve(waitNs) ?? 0
  }

  /**
   * Lets threads go on that wait to write. One that waits inside a system call does not stop before (it spins in the
   * kernel, mm/userfaultfd.c, Linux 6.18), so this is called while threads are being stopped too.
   */
  serve(waitNs: number): number {
    return this.#protection === 'sync' ? this.#serve(waitNs) : 0
  }

  /**
   * Ends the tracking without holding up the target. Closing alone would visit every page with the memory map locked,
   * 17 ms per GiB of 4 KiB pages, whether protected or not. So the protection is taken off in pieces first, and in a short
   * stop the tracking is dropped and the rest closed, which then has nothing to visit.
   */
  end(tracked: (mapping: Mapping) => boolean): void {
    try {
      if (this.#userfault !== undefined) this.#endGently((mapping) => tracked(mapping) && !this.isRefused(mapping))
    } catch (error) {
      if (!isTidemarkError(error)) throw error // A target that has ended, or does not stop, needs no gentleness.
    }
    this[Symbol.dispose]()
  }

  #endGently(tracked: (mapping: Mapping) => boolean): void {
    const mappings = this.#process.mappings().filter(tracked)
    for (const mapping of mappings) {
      this.userfault.unprotect(mapping)
      this.serve(0)
    }
    const visited = mappings.reduce((pages, mapping) => isFileBacked(mapping) ? pages + mapping.end - mapping.start : pages, 0)
    if (visited <= VISITED_PAGES_MAX) this.#whileStopped(() => this.#dropAndClose(mappings, tracked))
  }

  /** A mark that stayed behind on a page would make the next tracking take it for clean. */
  #dropAndClose(unprotected: readonly Mapping[], tracked: (mapping: Mapping) => boolean): void {
    const done = new Map(unprotected.map(({ start, end }) => [start, end]))
    let dropped = 0
    for (const mapping of this.#process.mappings().filter(tracked)) {
      if (isFileBacked(mapping)) continue
      if (done.get(mapping.start) !== mapping.end) this.userfault.unprotect(mapping)
      if (this.userfault.dropTracking(mapping) === 'dropped') dropped++
      else if (dropped === 0) return // This kernel does not let us; nothing has changed.
    }
    this[Symbol.dispose]()
  }

  /**
   * The call is made by a helper in the target, whose descriptor we copy; the helper's own goes with it. It is made with
   * the target's rights. Asynchronous protection makes do with USER_MODE_ONLY, which anybody may have: it only decides who may be made
   * to wait, and nobody is; writes that the kernel makes for the program are seen all the same (do_wp_page(), mm/memory.c, Linux 6.18).
   * Synchronous protection without the kernel's writes would break the program's system calls (EFAULT) and its rseq area (SIGSEGV).
   */
  #openInTarget(stopped: Stopped): Userfault {
    const kernel = this.#kernel
    const flags = FILE_FLAGS | (this.#protection === 'async' ? USER_MODE_ONLY : 0)
    const file = withHelper(kernel, this.#process, stopped.threads[0]!, (helper) => {
      const remote = helper.call(kernel.architecture.calls.userfaultfd, [flags])
      return remote < 0 ? remote : kernel.tasks.takeFile(helper.pid, remote)
    })
    const userfault = file < 0 ? 'refused' : kernel.openUserfault(file, this.#protection)
    if (userfault !== 'refused') return userfault
    throw new TidemarkError('unsupported', this.#protection === 'async'
      ? 'the kernel does not track writes for us (userfaultfd with WP_ASYNC, Linux 6.7)'
      : 'the target may not have its writes wait for us (userfaultfd: CAP_SYS_PTRACE in it, or sysctl vm.unprivileged_userfaultfd=1)', {
      pid: this.#process.pid, hint: 'use --strategy fork or stop; `tidemark check` tells more',
    })
  }

  [Symbol.dispose](): void {
    this.#userfault?.[Symbol.dispose]()
    this.#userfault = undefined
  }
}
