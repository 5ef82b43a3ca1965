import xxhash from 'xxhash-wasm'
import type { Block } from '../kernel/block.ts'

const { h64Raw } = await xxhash()

/** XXH64 of each page; 0 is kept for "no page". */
export function hashPages(block: Block, at: number, count: number, pageBytes: number, hashes: BigUint64Array, index: number): void {
  for (let i = 0; i < count; i++) {
    const start = at + i * pageBytes
    hashes[index + i] = h64Raw(block.bytes.subarray(start, start + pageBytes)) || 1n
  }
}
