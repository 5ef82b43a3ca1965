import { addressOf, type PageNumber } from '../memory/address.ts'
import type { RegionList } from '../memory/region-list.ts'
import type { Block } from '../kernel/block.ts'
import { TidemarkError } from '../kernel/errors.ts'
import type { Kernel } from '../kernel/kernel.ts'
import type { Process } from '../kernel/process.ts'

/** `unpinned`, pages that are shared with a fork stay so: see TargetMemory. */
export type Reading = 'fast' | 'unpinned'

/**
 * Reads the pages of regions `from` up to `to`, one after the other, into the block. What process_vm_readv may not
 * read (PROT_NONE) is read through /proc/PID/mem; what nobody can (past the end of a file, poisoned) becomes zeros,
 * as in a core the kernel writes.
 */
export function readPages(kernel: Kernel, process: Process, regions: RegionList, from: number, to: number, into: Block, at: number, how: Reading = 'fast'): void {
  const pageBytes = 2 ** kernel.pageShift
  const read = how === 'fast' ? process.memory.gather(regions, from, to, into, at) : process.memory.gatherUnpinned(regions, from, to, into, at)
  if (read === 'gone') throw new TidemarkError('gone', `process ${process.pid} ended meanwhile`, { pid: process.pid })
  let done = Math.floor(read / pageBytes)
  for (let i = from; i < to; i++) {
    const pages = regions.ends[i]! - regions.starts[i]!
    if (done >= pages) done -= pages
    else {
      peekPages(kernel, process, regions.starts[i]! + done, pages - done, into, at + done * pageBytes)
      if (i + 1 < to) readPages(kernel, process, regions, i + 1, to, into, at + pages * pageBytes, how)
      return
    }
    at += pages * pageBytes
  }
}

function peekPages(kernel: Kernel, process: Process, start: number, count: number, into: Block, at: number): void {
  const pageBytes = 2 ** kernel.pageShift
  for (let i = 0; i < count;) {
    const read = process.memory.peek(addressOf((start + i) as PageNumber, kernel.pageShift), (count - i) * pageBytes, into, at + i * pageBytes)
    i += Math.floor(read / pageBytes)
    if (i < count) {
      into.bytes.fill(0, at + i * pageBytes, at + (i + 1) * pageBytes)
      i++
    }
  }
}
