import { allocateBlock } from './block.ts'
import { systemCall } from './ffi.ts'
import { NR } from './system-calls.ts'

const SIGCHLD = 17
const SA_NOCLDSTOP = 1n
const MASK_BYTES = 8

/**
 * A tracee that stops sends SIGCHLD to its tracer's process, and Node answers by asking after its own children with
 * waitpid, which would take the stop of a tracee that is also such a child for its end. With SA_NOCLDSTOP
 * no stop sends the signal, and the end of a child still does (sigaction(2)).
 */
export function hideChildStops(): void {
  using block = allocateBlock(4096)
  const action = new BigUint64Array(block.bytes.buffer, 0, 4) // handler, flags, restorer, mask
  if (systemCall(NR.rtSigaction, SIGCHLD, 0, block.address, MASK_BYTES) < 0 || action[0] === 0n) return
  action[1]! |= SA_NOCLDSTOP
  systemCall(NR.rtSigaction, SIGCHLD, block.address, 0, MASK_BYTES)
}
