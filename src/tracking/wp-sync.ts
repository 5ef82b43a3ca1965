import type { Mapping } from '../memory/mapping.ts'
import type { PageRange } from '../memory/page-range.ts'
import { RegionList } from '../memory/region-list.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { PageState } from '../kernel/page-tables.ts'
import type { Process } from '../kernel/process.ts'
import type { Stopped } from '../tracee/freeze.ts'
import { Registration } from './registration.ts'
import { drain, POPULATED, type Sink, type Tracker } from './tracker.ts'

/**
 * userfaultfd write-protection where every first write waits until we have let it pass (Linux 5.7 for anonymous memory,
 * 5.19 for shared memory and hugetlb). For kernels that have nothing better: a first write costs the target tens of
 * microseconds, and somebody has to serve all the while. The page's entry itself keeps the note: unprotected means written.
 *
 * While it lasts, debuggers cannot write to protected pages of the target (EIO: faultin_page(), mm/gup.c, Linux 6.18).
 */
export class WpSyncTracker implements Tracker {
  readonly name = 'wp-sync'
  readonly registers = true
  readonly #process: Process
  readonly #registration: Registration
  readonly #found = new RegionList(4096)
  /** First pages of mappings that turned out not to be registered any more. */
  readonly #lost = new Set<number>()

  constructor(kernel: Kernel, process: Process, freezeTimeoutNs: number) {
    this.#process = process
    this.#registration = new Registration(kernel, process, 'sync', freezeTimeoutNs)
  }

  adopt(stopped: Stopped, mapping: Mapping): 'adopted' | 'owned' | 'refused' {
    this.#lost.delete(mapping.start)
    return this.#registration.register(stopped, mapping)
  }

  /** What took the place of an adopted mapping is found when it is to be protected: see {@link collect}. */
  follows(mapping: Mapping): boolean {
    return this.#registration.covers(mapping) && !this.#lost.has(mapping.start)
  }

  mark(mappings: readonly Mapping[], sink: Sink): void {
    for (const mapping of mappings) {
      this.#registration.userfault.unprotect(mapping) // Marks of an earlier tracking.
      this.#protectMatching(mapping, 0, sink)
    }
  }

  collect(mappings: readonly Mapping[], sink: Sink): void {
    for (const mapping of mappings) this.#protectMatching(mapping, PageState.written, sink)
  }

  /**
   * A page is protected only after it was found written, and reported: a write in between belongs to this report.
   * In a mapping that is not registered any more every page reads as written (until 7.3), and the first to be protected tells.
   */
  #protectMatching(mapping: Mapping, all: number, sink: Sink): void {
    const query = { all, none: 0, any: POPULATED, report: PageState.present, protect: false, trackedOnly: false }
    drain((start, found) => this.#process.pageTables.scan({ start, end: mapping.end }, query, found), mapping.start, this.#found, (regions) => {
      for (let i = 0; i < regions.length; i++) {
        const range = { start: regions.starts[i]!, end: regions.ends[i]! } as PageRange
        if (this.#registration.userfault.protect(range) === 'unregistered') this.#lost.add(mapping.start)
        if (i % 64 === 63) this.serve(0)
      }
      sink(mapping).addRegions(regions)
      this.serve(0)
    })
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
