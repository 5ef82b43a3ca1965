import { address, pageOf } from '../memory/address.ts'
import type { Mapping } from '../memory/mapping.ts'
import type { PageRange } from '../memory/page-range.ts'
import type { Kernel } from '../kernel/kernel.ts'
import type { Process } from '../kernel/process.ts'
import { whileStopped, type Stopped } from '../tracee/freeze.ts'
import { Registration } from './registration.ts'
import type { Sink, Tracker } from './tracker.ts'
import { WrittenScan } from './written-scan.ts'

/** What C libraries keep at the thread pointer: glibc's struct pthread has 2304 bytes, musl's fewer. */
const THREAD_BYTES = 2304n

/**
 * userfaultfd write-protection where every first write waits until we have let it pass (Linux 5.7 for anonymous memory,
 * 5.19 for shared memory and hugetlb). For kernels that have nothing better: a first write costs the target tens of
 * microseconds, and somebody has to serve all the while. The page's entry itself keeps the note: unprotected means written.
 *
 * A thread that ends cannot be made to wait: its last write, of a zero to the word that pthread_join waits on
 * (clear_child_tid), is then lost, and the join never returns (handle_userfault(), PF_EXITING, Linux 6.18). So pages are protected only
 * while all threads stand, and never one that a living thread has at its thread pointer. A new thread writes its own first.
 *
 * While it lasts, debuggers cannot write to protected pages of the target (EIO: faultin_page(), mm/gup.c, Linux 6.18).
 */
export class WpSyncTracker implements Tracker {
  readonly name = 'wp-sync'
  readonly registers = true
  stopNs = 0
  readonly #kernel: Kernel
  readonly #process: Process
  readonly #freezeTimeoutNs: number
  readonly #registration: Registration
  readonly #scan: WrittenScan
  /** By first page. */
  readonly lost = new Set<number>()

  constructor(kernel: Kernel, process: Process, freezeTimeoutNs: number) {
    this.#kernel = kernel
    this.#process = process
    this.#scan = new WrittenScan(process, false)
    this.#freezeTimeoutNs = freezeTimeoutNs
    this.#registration = new Registration(kernel, process, 'sync', freezeTimeoutNs)
  }

  adopt(stopped: Stopped, mapping: Mapping): 'adopted' | 'owned' | 'refused' {
    this.lost.delete(mapping.start)
    return this.#registration.register(stopped, mapping)
  }

  /** What took the place of an adopted mapping is found when it is to be protected: see {@link collect}. */
  follows(mapping: Mapping): boolean {
    return this.#registration.covers(mapping) && !this.lost.has(mapping.start)
  }

  forgetAllBut(mappings: readonly Mapping[]): void {
    this.#registration.forgetAllBut(mappings)
  }

  mark(mappings: readonly Mapping[], sink: Sink): void {
    for (const mapping of mappings) this.#registration.userfault.unprotect(mapping) // Marks of an earlier tracking.
    this.#whileStopped((kept) => {
      for (const mapping of mappings) this.#scan.everything(mapping, sink(mapping), (start, end) => this.#protect(mapping, start, end, kept))
    })
  }

  collect(mappings: readonly Mapping[], sink: Sink): void {
    this.#whileStopped((kept) => {
      for (const mapping of mappings) this.#scan.written(mapping, sink(mapping), (start, end) => this.#protect(mapping, start, end, kept))
    })
  }

  #whileStopped(body: (kept: readonly number[]) => void): void {
    const stopped = whileStopped(this.#kernel, this.#process.pid, { timeoutNs: this.#freezeTimeoutNs, threads: 'all', meanwhile: () => void this.serve(0) }, (stopped) => {
      body(this.#threadPages(stopped))
      return stopped
    })
    this.stopNs += stopped.releasedNs - stopped.startedNs
  }

  /** The pages with what the kernel writes when a thread ends, ascending. */
  #threadPages(stopped: Stopped): number[] {
    const { architecture, pageShift } = this.#kernel
    const pages = stopped.threads.flatMap(({ registers }) => {
      const at = architecture.threadPointer(registers)
      return [pageOf(address(at), pageShift), pageOf(address(at + THREAD_BYTES), pageShift)]
    })
    return [...new Set<number>(pages)].sort((a, b) => a - b)
  }

  /** In a mapping that is not registered any more every page reads as written (until 7.3), and the first to be protected tells. */
  #protect(mapping: Mapping, start: number, end: number, kept: readonly number[]): void {
    let from = start
    for (const page of kept) {
      if (page < from || page >= end) continue
      this.#protectRange(mapping, from, page)
      from = page + 1
    }
    this.#protectRange(mapping, from, end)
  }

  #protectRange(mapping: Mapping, start: number, end: number): void {
    if (start < end && this.#registration.userfault.protect({ start, end } as PageRange) === 'unregistered') this.lost.add(mapping.start)
  }

  get needsServing(): boolean {
    return this.#registration.isOpen
  }

  serve(waitNs: number): number {
    return this.#registration.serve(waitNs)
  }

  end(tracked: (mapping: Mapping) => boolean): void {
    this.#registration.end(tracked)
  }

  [Symbol.dispose](): void {
    this.#registration[Symbol.dispose]()
  }
}
