import type { PageNumber } from '../memory/address.ts'
import type { Mapping } from '../memory/mapping.ts'
import { RegionList } from '../memory/region-list.ts'
import { PageState } from '../kernel/page-tables.ts'
import type { Process } from '../kernel/process.ts'

/** How much more than before may be in memory because of us: 4 MiB of 4 KiB pages, and one batch that is being read. */
const OWED_PAGES_MAX = 1024
/** A batch has 256 pages at most, and so many regions are found in it. */
const FOUND_REGIONS = 512

/**
 * Reading a page that is in swap brings it into the target's memory, and there it stays: a dump of a process that is mostly
 * swapped out makes it large again, and where its memory is limited, its hot pages are swapped out for the cold ones we read.
 * So what was in swap right before we read it is paged out again right after.
 *
 * What is in swap is seen in its page tables, in the same piece of at most a mebibyte that is then read:
 *  1. A page that the target brought back itself before that look is not ours and stays.
 *  2. One that it touches between our look and the giving back is paged out all the same: nothing cheap tells its touch from
 *     ours. It then has the one major fault that it would have had without us.
 *  3. In a fork, its touch maps the page a second time, and the kernel leaves it.
 *
 * The strategy `stop` gives back in its pause too, which makes that longer: to read on would have a target in a control group with
 * a limit killed. The last stop of the others leaves it for later.
 */
export class WorkingSet {
  /** Pages that were in swap when they were read, each time they were. */
  pagedInPages = 0
  /** Of those, the ones that are out of memory again. */
  givenBackPages = 0
  refused = false
  readonly #policy: 'keep' | 'spend'
  readonly #hasSwapped: (mapping: Mapping) => boolean
  readonly #found = new RegionList(FOUND_REGIONS)
  readonly #owed = new RegionList(2 * OWED_PAGES_MAX)
  #owner: Process | undefined

  /** `hasSwapped` tells the mappings that are looked at: those of which something was in swap when the dump began. */
  constructor(policy: 'keep' | 'spend', hasSwapped: (mapping: Mapping) => boolean) {
    this.#policy = policy
    this.#hasSwapped = hasSwapped
  }

  /** To be called right before the pages are read. Their regions are in ascending order, and all of one mapping. */
  noteSwapped(source: Process, mapping: Mapping, batch: RegionList): void {
    if (!this.#hasSwapped(mapping)) return
    if (this.#owner !== source || this.#owed.pageCount() >= OWED_PAGES_MAX) this.giveBack()
    this.#owner = source
    if (mapping.shared) this.#noteShared(source, mapping, batch)
    else this.#notePrivate(source, batch)
  }

  #noteShared(source: Process, mapping: Mapping, batch: RegionList): void {
    for (let i = 0; i < batch.length; i++) {
      this.#found.clear()
      source.swappedShared(mapping, { start: batch.starts[i]! as PageNumber, end: batch.ends[i]! as PageNumber }, this.#found)
      for (let j = 0; j < this.#found.length; j++) this.#owe(this.#found.starts[j]!, this.#found.ends[j]!)
    }
  }

  /** One scan from the first page to the last; of what it finds, what lies in the batch. */
  #notePrivate(source: Process, batch: RegionList): void {
    const query = { all: PageState.swapped, none: 0, any: 0, report: PageState.swapped, protect: false, trackedOnly: false }
    const end = batch.ends[batch.length - 1]! as PageNumber
    let i = 0
    for (let at: PageNumber | undefined = batch.starts[0]! as PageNumber; at !== undefined;) {
      this.#found.clear()
      const outcome = source.pageTables.scan({ start: at, end }, query, this.#found)
      for (let j = 0; j < this.#found.length; j++) {
        while (batch.ends[i]! <= this.#found.starts[j]!) i++
        for (let k = i; k < batch.length && batch.starts[k]! < this.#found.ends[j]!; k++) {
          this.#owe(Math.max(batch.starts[k]!, this.#found.starts[j]!), Math.min(batch.ends[k]!, this.#found.ends[j]!))
        }
      }
      at = outcome.kind === 'full' ? outcome.next : undefined
    }
  }

  #owe(start: number, end: number): void {
    this.pagedInPages += end - start
    this.#owed.push(start, end)
  }

  /**
   * To be called right after; for what is held in a short stop, once the threads run again; and in any case before the process that
   * was read is closed.
   */
  giveBack(): void {
    const list = this.#owed
    if (list.length === 0) return
    if (this.#policy === 'keep' && !this.refused) {
      if (this.#owner!.pageOut(list) === 'refused') this.refused = true
      else this.givenBackPages += list.pageCount() - this.#presentPages(list)
    }
    list.clear()
  }

  #presentPages(list: RegionList): number {
    const query = { all: PageState.present, none: 0, any: 0, report: PageState.present, protect: false, trackedOnly: false }
    let pages = 0
    for (let i = 0; i < list.length; i++) {
      for (let at: PageNumber | undefined = list.starts[i]! as PageNumber; at !== undefined;) {
        this.#found.clear()
        const outcome = this.#owner!.pageTables.scan({ start: at, end: list.ends[i]! as PageNumber }, query, this.#found)
        pages += this.#found.pageCount()
        at = outcome.kind === 'full' ? outcome.next : undefined
      }
    }
    return pages
  }
}
