import type { Address } from '../memory/address.ts'
import type { RegionList } from '../memory/region-list.ts'
import type { Block } from './block.ts'

/** The memory of one process, read and (for the lifeline only) written from outside. */
export interface TargetMemory {
  /**
   * Reads regions `from` up to `to` of the list, one after the other, into `into` at byte `at`.
   * Honours the mappings' permissions. Returns the bytes read, which end early at the first page that cannot be read,
   * or 'gone' when the process has no memory any more.
   */
  gather(regions: RegionList, from: number, to: number, into: Block, at: number): number | 'gone'

  /**
   * As {@link gather}, more slowly and whatever the permissions, but pages that are shared with a fork stay shared.
   * A fast read pins them, and the kernel gives the process a copy of its own for that.
   */
  gatherUnpinned(regions: RegionList, from: number, to: number, into: Block, at: number): number | 'gone'

  /** Reads whatever the permissions, PROT_NONE too. Returns the bytes read; 0 where there is no page. */
  peek(start: Address, length: number, into: Block, at: number): number

  /** Writes whatever the permissions. Throws unless all bytes were written. */
  poke(start: Address, bytes: Uint8Array): void
}
