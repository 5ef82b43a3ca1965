import { closeSync, openSync, readSync, writeFileSync } from 'node:fs'
import type { PageShift } from '../memory/address.ts'
import { allocateBlock } from './block.ts'

/** Documentation/admin-guide/mm/pagemap.rst: bit 55 of an entry, so bit 23 of its upper half. */
const SOFT_DIRTY_UPPER = 1 << 23

let known: boolean | undefined

export function hasSoftDirty(shift: PageShift): boolean {
  return known ??= trySoftDirty(shift) === 'works'
}

/**
 * clear_refs succeeds on kernels that do nothing then, and PAGEMAP_SCAN accepts SOFT_DIRTY on them, so only the whole way
 * round tells. Without the bit on a page just written there is none, and our page tables need not be walked.
 */
export function trySoftDirty(shift: PageShift): 'works' | 'absent' | 'not-cleared' | 'not-set' {
  using block = allocateBlock(2 ** shift)
  const pagemap = openSync('/proc/self/pagemap', 'r')
  try {
    const entry = Buffer.alloc(8)
    const isDirty = (): boolean => {
      readSync(pagemap, entry, 0, 8, (block.address / 2 ** shift) * 8)
      return (entry.readUInt32LE(4) & SOFT_DIRTY_UPPER) !== 0
    }
    block.bytes[0] = 1
    if (!isDirty()) return 'absent'
    writeFileSync('/proc/self/clear_refs', '4')
    if (isDirty()) return 'not-cleared'
    block.bytes[0] = 2
    return isDirty() ? 'works' : 'not-set'
  } finally {
    closeSync(pagemap)
  }
}
