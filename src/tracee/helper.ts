/**
 * A task of our own inside the target: it shares the target's memory, so what it makes (a userfaultfd, a fork)
 * is of that memory; but it has no open files, blocks nothing, and is killed by the kernel when we are.
 *
 * Only its birth needs a thread of the target, which performs two calls for us, clone3 and wait4. If we are killed
 * in between, that thread must still come home with every register as it was and bury the helper. So before it makes
 * the first call, a lifeline (kernel/architecture.ts) is laid after the last loaded byte of [vdso], where nothing
 * ever executes; left alone at any moment, the thread follows it home.
 */
import { addressOf, type Address } from '../memory/address.ts'
import { TidemarkError } from '../kernel/errors.ts'
import type { Kernel } from '../kernel/kernel.ts'
import type { Lifeline, Registers } from '../kernel/architecture.ts'
import type { Process } from '../kernel/process.ts'
import type { TaskStatus } from '../kernel/tasks.ts'
import { readGeneral, writeGeneral, type FrozenThread } from './freeze.ts'
import { loadedBytes } from './vdso.ts'

const STEP_TIMEOUT_NS = 2_000_000_000
const SPIN_NS = 2_000_000
const NAP_NS = 50_000
const ALL_SIGNALS = 0xffff_ffff_ffff_ffffn
const CLONE_ARGUMENTS_BYTES = 88
const CLOSE_RANGE_UNSHARE = 2
const EVERY_FILE = 0xffff_ffff

/** Performs calls inside the target's memory. Lives as long as the body it is given to. */
export interface Helper {
  readonly pid: number
  /** The call's result, or minus an error number. */
  call(number: number, args: readonly (number | bigint)[]): number
  /** Makes a copy of the whole process as it is: a child that is stopped, traced, and dies with us. Returns its pid. */
  fork(): number
  /** Makes calls in a copy made by {@link fork}. It outlives the helper. */
  inside(pid: number): RemoteTask
}

/** A stopped task of ours that can be made to perform calls. */
export interface RemoteTask {
  call(number: number, args: readonly (number | bigint)[]): number
}

interface Place {
  readonly at: Address
  readonly callAt: bigint
  readonly original: Uint8Array
  readonly lifeline: Lifeline
}

/**
 * Has `thread`, which is stopped, give birth to a helper; runs `body` with it; buries the helper and brings
 * the thread back to where it was, stopped. Costs the thread about 0.4 ms.
 * Errors: 'unsupported' where there is no lifeline for this target; 'failed' when the target may not fork (pids limit).
 */
export function withHelper<T>(kernel: Kernel, process: Process, thread: FrozenThread, body: (helper: Helper) => T): T {
  const place = layLifeline(kernel, process)
  const home = homeRegisters(kernel, thread)
  const mask = kernel.tasks.readSignalMask(thread.tid)
  process.memory.poke(place.at, place.lifeline.assemble(home, mask))
  thread.onLifeline = true
  const child = giveBirth(kernel, thread.tid, home, place)
  try {
    return body(makeHelper(kernel, child, place))
  } finally {
    bury(kernel, child)
    comeHome(kernel, thread, mask)
    process.memory.poke(place.at, place.original)
  }
}

function layLifeline(kernel: Kernel, process: Process): Place {
  const { lifeline } = kernel.architecture
  const vdso = process.mappings().find((mapping) => mapping.path === '[vdso]')
  if (lifeline === undefined || vdso === undefined) {
    throw new TidemarkError('unsupported', 'no place in the target for a remote call', { pid: process.pid, hint: 'use --strategy stop' })
  }
  const start = addressOf(vdso.start, kernel.pageShift)
  const length = Number(addressOf(vdso.end, kernel.pageShift) - start)
  using block = kernel.allocate(length)
  const read = process.memory.peek(start, length, block, 0)
  const offset = length - Math.ceil(lifeline.bytes / 16) * 16
  if (read !== length || offset < loadedBytes(block.bytes)) {
    throw new TidemarkError('unsupported', 'the target\'s [vdso] has no room for a remote call', { pid: process.pid, hint: 'use --strategy stop' })
  }
  const at = (start + BigInt(offset)) as Address
  return { at, callAt: at + BigInt(lifeline.callOffset), original: block.bytes.slice(offset, offset + lifeline.bytes), lifeline }
}

/** Leaving a restartable sequence and coming back would skip its abort, so the thread comes back to the abort (rseq(2)). */
function homeRegisters(kernel: Kernel, thread: FrozenThread): Registers {
  const { architecture, tasks } = kernel
  const abort = tasks.rseqAbort(thread.tid, architecture.programCounter(thread.registers))
  if (abort !== undefined) {
    thread.resume = thread.resume.slice()
    architecture.setProgramCounter(thread.resume, abort)
  }
  return thread.resume
}

function giveBirth(kernel: Kernel, tid: number, home: Registers, place: Place): number {
  const { tasks, architecture } = kernel
  const options = { syscalls: true, clones: true, killOnExit: false, suspendSeccomp: true }
  if (tasks.setOptions(tid, options) === 'refused') tasks.setOptions(tid, { ...options, suspendSeccomp: false })
  const registers = home.slice()
  const args = place.at + BigInt(place.lifeline.argumentsOffset)
  architecture.placeCall(registers, place.callAt, architecture.calls.clone3, [args, CLONE_ARGUMENTS_BYTES])
  // From here to the end the lifeline holds: first the registers that lead along it, then the mask it will restore.
  writeGeneral(kernel, tid, registers)
  tasks.writeSignalMask(tid, ALL_SIGNALS)
  step(kernel, tid, 'syscall')
  const status = step(kernel, tid, 'clone', 'syscall')
  if (status.kind !== 'clone') throw birthFailed(kernel, tid)
  const child = tasks.newTask(tid)
  awaitStop(kernel, child, 'trap')
  const childOptions = { ...options, killOnExit: true }
  if (tasks.setOptions(child, childOptions) === 'refused') tasks.setOptions(child, { ...childOptions, suspendSeccomp: false })
  return child
}

function birthFailed(kernel: Kernel, tid: number): TidemarkError {
  const registers = readGeneral(kernel, tid)
  const result = registers === undefined ? 0 : kernel.architecture.callResult(registers)
  return new TidemarkError('failed', `the target could not make a helper task (clone3: errno ${-result})`, {
    hint: 'its pids limit may be reached, or its seccomp filter forbids it; --strategy stop needs no helper',
  })
}

function makeHelper(kernel: Kernel, child: number, place: Place): Helper {
  const inside = (pid: number): RemoteTask => ({ call: (number, args) => remoteCall(kernel, pid, place.callAt, number, args) })
  const { calls } = kernel.architecture
  const { call } = inside(child)
  // A table of its own, with nothing in it: no pipe or socket of the target stays open because of us.
  const unshared = call(calls.closeRange, [0, EVERY_FILE, CLOSE_RANGE_UNSHARE])
  if (unshared < 0) throw new TidemarkError('unsupported', `the helper could not leave the target's open files (errno ${-unshared})`)
  return { pid: child, call, inside, fork: () => forkHelper(kernel, child, place) }
}

function remoteCall(kernel: Kernel, tid: number, callAt: bigint, number: number, args: readonly (number | bigint)[]): number {
  placeRemoteCall(kernel, tid, callAt, number, args)
  step(kernel, tid, 'syscall')
  step(kernel, tid, 'syscall')
  const after = readGeneral(kernel, tid)
  if (after === undefined) throw helperDied(tid)
  return kernel.architecture.callResult(after)
}

function placeRemoteCall(kernel: Kernel, tid: number, callAt: bigint, number: number, args: readonly (number | bigint)[]): void {
  const registers = readGeneral(kernel, tid)
  if (registers === undefined) throw helperDied(tid)
  kernel.architecture.placeCall(registers, callAt, number, args)
  writeGeneral(kernel, tid, registers)
}

/** clone3 with all arguments zero is a fork that sends no signal at its end. The copy inherits EXITKILL from the helper. */
function forkHelper(kernel: Kernel, helper: number, place: Place): number {
  const { tasks, architecture } = kernel
  const zeros = place.at + BigInt(place.lifeline.argumentsOffset) + 8n // clone_args from its second field on: all zero
  placeRemoteCall(kernel, helper, place.callAt, architecture.calls.clone3, [zeros, CLONE_ARGUMENTS_BYTES - 24])
  step(kernel, helper, 'syscall')
  const status = step(kernel, helper, 'clone', 'syscall')
  if (status.kind !== 'clone') throw birthFailed(kernel, helper)
  const copy = tasks.newTask(helper)
  awaitStop(kernel, copy, 'trap')
  step(kernel, helper, 'syscall')
  return copy
}

export function bury(kernel: Kernel, pid: number): void {
  kernel.tasks.kill(pid)
  awaitStop(kernel, pid, 'gone')
}

/** Lets the thread perform the wait4 of the lifeline, stops it where a signal would be handled, and puts it back. */
function comeHome(kernel: Kernel, thread: FrozenThread, mask: bigint): void {
  const { tasks } = kernel
  step(kernel, thread.tid, 'syscall') // clone3 returns
  step(kernel, thread.tid, 'syscall') // wait4 begins
  step(kernel, thread.tid, 'syscall') // wait4 returns
  tasks.interrupt(thread.tid)
  tasks.resume(thread.tid, 'anywhere', 0)
  // In this stop, as in the one it came from, the kernel still restarts an interrupted call when it lets the thread go.
  awaitStop(kernel, thread.tid, 'trap', 'group-stop')
  tasks.writeSignalMask(thread.tid, mask)
  writeGeneral(kernel, thread.tid, thread.resume)
  tasks.setOptions(thread.tid, { syscalls: false, clones: false, killOnExit: false, suspendSeccomp: false })
  thread.onLifeline = false
}

function step(kernel: Kernel, tid: number, ...expected: TaskStatus['kind'][]): TaskStatus {
  kernel.tasks.resume(tid, 'syscall', 0)
  return awaitStop(kernel, tid, ...expected)
}

/** Waits for one of the expected stops. Job control may stop the task on the way; it is let go on, and stops again when released. */
function awaitStop(kernel: Kernel, tid: number, ...expected: TaskStatus['kind'][]): TaskStatus {
  const { clock, tasks } = kernel
  const start = clock.nowNs()
  for (;;) {
    const status = tasks.poll(tid)
    if (status !== undefined) {
      if (expected.includes(status.kind)) return status
      if (status.kind === 'gone') throw helperDied(tid)
      if (expected.includes('trap')) tasks.interrupt(tid) // The stop we are in has taken the pending one back.
      tasks.resume(tid, 'syscall', status.kind === 'signal' ? status.signal : 0)
    }
    const waited = clock.nowNs() - start
    if (waited > STEP_TIMEOUT_NS) throw new TidemarkError('timed-out', `task ${tid} did not perform a remote call: ${tasks.describeWait(tid)}`)
    if (waited > SPIN_NS) clock.sleepNs(NAP_NS)
    else clock.yield()
  }
}

function helperDied(tid: number): TidemarkError {
  return new TidemarkError('gone', `task ${tid} was killed while it worked for us`)
}
