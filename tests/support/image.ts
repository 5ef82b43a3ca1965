import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { address, decodeCore, readCoreMemory, type Core, type CoreSource } from 'tidemark'
import type { ImageUnderTest } from './checked-image.ts'

/** A core file, open: its values, and what the checkers want of it. */
export interface OpenCore extends Disposable {
  readonly core: Core
  readonly image: ImageUnderTest
}

/** NT_X86_XSTATE and NT_FPREGSET. */
const XSTATE = 0x202
const FPREGSET = 2

export function openCore(path: string): OpenCore {
  const file = openSync(path, 'r')
  const source: CoreSource = {
    bytes: fstatSync(file).size,
    read(offset, length) {
      const bytes = new Uint8Array(length)
      const read = readSync(file, bytes, 0, length, offset)
      return bytes.subarray(0, read)
    },
  }
  const core = decodeCore(source)
  const vectorsOf = (thread: Core['threads'][number]): Uint8Array | undefined =>
    (thread.sets.find(({ note }) => note === XSTATE) ?? thread.sets.find(({ note }) => note === FPREGSET))?.bytes
  return {
    core,
    image: {
      read: (from, length) => readCoreMemory(core, source, address(from), length),
      registers: new Map(core.threads.map((thread) => [thread.tid, thread.registers])),
      vectorRegisters: new Map(core.threads.flatMap((thread) => {
        const bytes = vectorsOf(thread)
        return bytes === undefined ? [] : [[thread.tid, bytes]]
      })),
    },
    [Symbol.dispose]: () => closeSync(file),
  }
}
