import type { PageNumber } from './address.ts'

/**
 * Page ranges in the form hot loops take them: two columns of page numbers and one of flags,
 * filled and emptied again and again without allocating. `state` holds what the producer found
 * in the range (see PageState in kernel/page-tables.ts), 0 when it says nothing.
 */
export class RegionList {
  readonly starts: Float64Array
  readonly ends: Float64Array
  readonly states: Uint32Array
  length = 0

  constructor(capacity: number) {
    this.starts = new Float64Array(capacity)
    this.ends = new Float64Array(capacity)
    this.states = new Uint32Array(capacity)
  }

  get capacity(): number {
    return this.starts.length
  }

  /** Returns false, and adds nothing, when the list is full. */
  push(start: PageNumber | number, end: PageNumber | number, state = 0): boolean {
    if (this.length === this.starts.length) return false
    this.starts[this.length] = start
    this.ends[this.length] = end
    this.states[this.length] = state
    this.length++
    return true
  }

  clear(): void {
    this.length = 0
  }

  pageCount(): number {
    let pages = 0
    for (let i = 0; i < this.length; i++) pages += this.ends[i]! - this.starts[i]!
    return pages
  }
}
