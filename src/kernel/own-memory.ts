import type { PageShift } from '../memory/address.ts'
import type { Mapping } from '../memory/mapping.ts'
import type { PageTables } from './page-tables.ts'
import type { Userfault } from './userfaults.ts'

/** The page tables of this process, and the means to have writes to them followed. Disposing ends that everywhere. */
export interface OwnTracking extends Disposable {
  readonly userfault: Userfault
  readonly pageTables: PageTables
}

/** Memory of this very process, as JavaScript has it in buffers. Nobody is traced and nothing is stopped. */
export interface OwnMemory {
  readonly pageShift: PageShift
  /**
   * The address of an array's first byte; 0 where it has none. Precondition: it is a view of an ArrayBuffer or SharedArrayBuffer
   * that somebody else keeps alive.
   */
  addressOf(bytes: Uint8Array): number
  /** Whether two arrays differ anywhere from byte `start` up to `end`. */
  differ(a: Uint8Array, b: Uint8Array, start: number, end: number): boolean
  mappings(): readonly Mapping[]
  /** Has the kernel follow writes, after seeing it do so once. A text says why it cannot. */
  openTracking(): OwnTracking | string
}
