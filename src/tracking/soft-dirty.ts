import type { Mapping } from '../memory/mapping.ts'
import { RegionList } from '../memory/region-list.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { PageState } from '../kernel/page-tables.ts'
import type { Process } from '../kernel/process.ts'
import { whileStopped } from '../tracee/freeze.ts'
import { drain, POPULATED, type Sink, type Tracker } from './tracker.ts'

/**
 * The soft-dirty bit (CONFIG_MEM_SOFT_DIRTY, x86 from 3.11, never arm64). It is cleared for the whole process at once and
 * apart from being read, so the target stands still for both. A page given up and touched again is a clean zero page
 * to the kernel: zero pages are therefore always reported.
 */
export class SoftDirtyTracker implements Tracker {
  readonly name = 'soft-dirty'
  readonly registers = false
  stopNs = 0
  readonly #kernel: Kernel
  readonly #process: Process
  readonly #freezeTimeoutNs: number
  readonly #found = new RegionList(4096)

  constructor(kernel: Kernel, process: Process, freezeTimeoutNs: number) {
    this.#kernel = kernel
    this.#process = process
    this.#freezeTimeoutNs = freezeTimeoutNs
  }

  adopt(): 'adopted' {
    return 'adopted'
  }

  follows(): boolean {
    return true
  }

  forgetAllBut(): void {}

  mark(mappings: readonly Mapping[], sink: Sink): void {
    this.#take(mappings, POPULATED, sink)
  }

  collect(mappings: readonly Mapping[], sink: Sink): void {
    this.#take(mappings, PageState.softDirty | PageState.zero, sink)
  }

  #take(mappings: readonly Mapping[], any: number, sink: Sink): void {
    const query = { all: 0, none: 0, any, report: POPULATED, protect: false, trackedOnly: false }
    const stopped = whileStopped(this.#kernel, this.#process.pid, { timeoutNs: this.#freezeTimeoutNs, threads: 'all' }, (stopped) => {
      for (const mapping of mappings) {
        const spans = sink(mapping)
        drain((start, found) => this.#process.pageTables.scan({ start, end: mapping.end }, query, found), mapping.start, this.#found, (regions) => {
          for (let i = 0; i < regions.length; i++) if (regions.states[i] !== 0) spans.add(regions.starts[i]!, regions.ends[i]!)
        })
      }
      this.#process.clearSoftDirty()
      return stopped
    })
    this.stopNs += stopped.releasedNs - stopped.startedNs
  }

  readonly lost: ReadonlySet<number> = new Set()
  readonly needsServing = false

  serve(): number {
    return 0
  }

  end(): void {}

  [Symbol.dispose](): void {}
}
