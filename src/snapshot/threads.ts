import type { CoreRegisterSet, CoreThread } from '../image/elf-core/core.ts'
import type { Block } from '../kernel/block.ts'
import type { Kernel } from '../kernel/kernel.ts'
import type { Process } from '../kernel/process.ts'
import type { Stopped } from '../tracee/freeze.ts'

/** What of a thread can only be had while it is stopped. */
export interface ThreadState {
  readonly tid: number
  readonly registers: Uint8Array
  readonly sets: readonly CoreRegisterSet[]
  readonly blockedSignals: bigint
}

const SIGINFO_BYTES = 128

/** Reads the registers of every stopped thread by way of `block`, and keeps copies. */
export function readThreads(kernel: Kernel, stopped: Stopped, block: Block): ThreadState[] {
  const { tasks, architecture } = kernel
  return stopped.threads.map(({ tid, registers }) => {
    const sets: CoreRegisterSet[] = []
    for (const { set, owner } of architecture.noteSets) {
      const bytes = tasks.readRegisters(tid, set, block, 0, block.bytes.length)
      if (bytes !== 'gone' && bytes > 0) sets.push({ note: set, owner, bytes: block.bytes.slice(0, bytes) })
    }
    return { tid, sets, registers: new Uint8Array(registers.slice().buffer), blockedSignals: tasks.readSignalMask(tid) }
  })
}

/** Completes a thread for the image with what may be read while it runs again. */
export function describeThread(process: Process, state: ThreadState): CoreThread {
  const times = process.threadTimes(state.tid)
  return {
    ...state,
    pendingSignals: 0n,
    currentSignal: 0,
    siginfo: new Uint8Array(SIGINFO_BYTES),
    fpValid: state.sets.some(({ note }) => note === 2),
    times: {
      userMicros: times.userMicroseconds, systemMicros: times.systemMicroseconds,
      childrenUserMicros: times.childrenUserMicroseconds, childrenSystemMicros: times.childrenSystemMicroseconds,
    },
  }
}
