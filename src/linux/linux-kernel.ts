import { availableParallelism } from 'node:os'
import { pageShift, type PageShift } from '../memory/address.ts'
import { assert, TidemarkError } from '../kernel/errors.ts'
import type { Architecture } from '../kernel/architecture.ts'
import type { Block } from '../kernel/block.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { x86_64 } from './architecture/x86-64.ts'
import { allocateBlock, sliceBlock } from './block.ts'
import { linuxClock } from './clock.ts'
import { createOutput } from './output-file.ts'
import { readProcBytes } from './proc.ts'
import { openAddressSpace } from './address-space.ts'
import { hashPages } from './page-hash.ts'
import { openProcess } from './process.ts'
import { hasSoftDirty } from './soft-dirty.ts'
import { startExtra } from './extra.ts'
import { linuxTasks } from './tasks.ts'
import { openUserfault } from './userfault.ts'

/** The running kernel. One for each OS thread that traces: the kernel ties a tracee to the thread that attached to it. */
export function openLinuxKernel(): Kernel {
  const shift = runningPageShift()
  const memory = allocateBlock(3 * 4096)
  const page = (index: number): Block => sliceBlock(memory, index * 4096, 4096)
  const clock = linuxClock(page(0))
  return {
    pageShift: shift,
    architecture: runningArchitecture(),
    clock,
    processors: availableParallelism(),
    tasks: linuxTasks(clock, page(1)),
    scratch: page(2),
    openProcess: (pid, traced) => openProcess(pid, shift, traced),
    openAddressSpace: (pid) => openAddressSpace(pid, shift),
    allocate: allocateBlock,
    openUserfault: (file, protection) => openUserfault(file, shift, protection),
    hasSoftDirty: () => hasSoftDirty(shift),
    hashPages: (block, at, count, hashes, index) => hashPages(block, at, count, 2 ** shift, hashes, index),
    startExtra,
    createOutput,
    [Symbol.dispose]: () => memory[Symbol.dispose](),
  }
}

function runningArchitecture(): Architecture {
  if (process.arch === 'x64') return x86_64
  throw new TidemarkError('unsupported', `tidemark does not know ${process.arch} processors yet`)
}

/** AT_PAGESZ (6) of our own auxiliary vector. */
export function runningPageShift(): PageShift {
  const auxv = new BigUint64Array(Uint8Array.from(readProcBytes('/proc/self/auxv') ?? []).buffer)
  for (let i = 0; i + 1 < auxv.length; i += 2) if (auxv[i] === 6n) return pageShift(Number(auxv[i + 1]))
  assert(false, 'the auxiliary vector tells the page size')
}
