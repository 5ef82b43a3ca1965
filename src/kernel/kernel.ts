/**
 * kernel/ is the port: what the rest of the house needs from a kernel, as operations and not as system calls.
 * linux/ implements it; nothing here has code but assertions. Room by room, callers take the narrowest part that serves.
 */
import type { PageShift } from '../memory/address.ts'
import type { AddressSpace } from './address-space.ts'
import type { Architecture } from './architecture.ts'
import type { Block } from './block.ts'
import type { Clock } from './clock.ts'
import type { Output, OutputPlan } from './output.ts'
import type { Process } from './process.ts'
import type { Tasks } from './tasks.ts'
import type { Userfault, WriteProtection } from './userfaults.ts'

export interface Kernel extends Disposable {
  readonly pageShift: PageShift
  readonly architecture: Architecture
  readonly clock: Clock
  readonly processors: number
  readonly tasks: Tasks
  /** A page of ours for the arguments of a single call. Valid until the next call of anything that uses it. */
  readonly scratch: Block
  /**
   * Throws 'gone' (a zombie too), 'not-permitted', 'usage' (ourselves, a thread) or 'failed' (a kernel thread).
   * `traced: 'by-us'` opens a copy that we made ourselves.
   */
  openProcess(pid: number, traced?: 'by-us'): Process
  /** Opens a process to look at only. Throws as {@link openProcess}; being traced, or ourselves, is no obstacle. */
  openAddressSpace(pid: number): AddressSpace
  /** Memory that is there already: touching it never faults. */
  allocate(bytes: number): Block
  /** Makes a userfaultfd that was taken from the target usable; 'refused' when the kernel lacks that protection. */
  openUserfault(file: number, protection: WriteProtection): Userfault | 'refused'
  /** Whether the kernel keeps soft-dirty bits, found by writing a page of ours (CONFIG_MEM_SOFT_DIRTY; never on arm64). */
  hasSoftDirty(): boolean
  /** A 64-bit hash of each of `count` pages of the block from byte `at` on, into `hashes` from `index` on. Never 0. */
  hashPages(block: Block, at: number, count: number, hashes: BigUint64Array, index: number): void
  /** Starts a small process of our own that does nothing, to rehearse on. */
  startExtra(): Disposable & { readonly pid: number }
  createOutput(plan: OutputPlan): Output
}
