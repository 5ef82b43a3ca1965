import { assert } from '../kernel/errors.ts'
import type { Block } from '../kernel/block.ts'
import { callFailed } from './errno.ts'
import { systemCall, viewMemory } from './ffi.ts'
import { NR } from './system-calls.ts'

const PROT_READ_WRITE = 3
const MAP_PRIVATE_ANONYMOUS_POPULATE = 0x2 | 0x20 | 0x8000
const MADV_HUGEPAGE = 14

/**
 * Maps memory that is there at once: a first touch in the middle of a pause would cost a fault,
 * and on a virtual machine whose host has taken the page back, milliseconds.
 */
export function allocateBlock(bytes: number): Block {
  assert(bytes > 0, 'a block has a size')
  const address = systemCall(NR.mmap, 0, bytes, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS_POPULATE, -1, 0)
  if (address < 0) throw callFailed(`mapping ${bytes} bytes for ourselves`, address)
  systemCall(NR.madvise, address, bytes, MADV_HUGEPAGE)
  let mapped = true
  return {
    address,
    bytes: new Uint8Array(viewMemory(address, bytes)),
    [Symbol.dispose]() {
      if (mapped) systemCall(NR.munmap, address, bytes)
      mapped = false
    },
  }
}

/** A part of a block, which lives as long as the whole. */
export function sliceBlock(block: Block, at: number, length: number): Block {
  return { address: block.address + at, bytes: block.bytes.subarray(at, at + length), [Symbol.dispose]: () => {} }
}

/** Writes a 64-bit number that a double holds exactly as two halves: BigInt would allocate in hot loops. */
export function putU64(words: Uint32Array, index: number, value: number): void {
  words[index] = value % 0x1_0000_0000
  words[index + 1] = Math.floor(value / 0x1_0000_0000)
}

export function getU64(words: Uint32Array, index: number): number {
  return words[index]! + words[index + 1]! * 0x1_0000_0000
}
