import type { Block } from './block.ts'
import type { TidemarkError } from './errors.ts'

/** What a wait found. */
export type TaskStatus =
  /** `trap`: stopped because we asked, or a new child's first stop. */
  | { readonly kind: 'trap' }
  /** Job control (SIGSTOP and its kin) holds the whole process. */
  | { readonly kind: 'group-stop'; readonly signal: number }
  /** A signal is about to be delivered. */
  | { readonly kind: 'signal'; readonly signal: number }
  | { readonly kind: 'syscall' }
  | { readonly kind: 'clone' }
  | { readonly kind: 'other-event' }
  | { readonly kind: 'gone' }

export interface TraceOptions {
  readonly syscalls: boolean
  readonly clones: boolean
  readonly killOnExit: boolean
  readonly suspendSeccomp: boolean
}

export type SeizeOutcome = 'seized' | 'gone' | 'not-permitted'

/** Control over threads. All calls of one session come from one OS thread: the kernel accepts no other. */
export interface Tasks {
  /** Thread ids of a process, as the kernel lists them now. Empty when it is gone. */
  threads(pid: number): number[]
  /** How many threads run or want to, at this moment. */
  runnable(pid: number): number
  seize(tid: number): SeizeOutcome
  interrupt(tid: number): void
  /** What happened to the thread since last asked; `undefined` when nothing did. Never blocks. */
  poll(tid: number): TaskStatus | undefined
  /** Lets a stopped thread run, delivering `signal` (0: none); with `to: 'syscall'` until its next syscall entry or exit. */
  resume(tid: number, to: 'anywhere' | 'syscall', signal: number): void
  detach(tid: number, signal: number): void
  setOptions(tid: number, options: TraceOptions): 'set' | 'refused'
  /** The id of the task that a `clone` status announced. */
  newTask(tid: number): number
  kill(pid: number): void
  /**
   * Reads a register set into `into` at byte `at`; returns its size, 0 when the machine has none such.
   * 'gone' when the thread was killed under us.
   */
  readRegisters(tid: number, set: number, into: Block, at: number, lengthMax: number): number | 'gone'
  /** Replaces the general registers. */
  writeRegisters(tid: number, from: Block, at: number, length: number): void
  /** The mask the thread has, or in ppoll(2) and its kin will have after that call. Writing it ends the mask of the call. */
  readSignalMask(tid: number): bigint
  writeSignalMask(tid: number, mask: bigint): void
  /** Where the thread's rseq critical section would abort to, if `pc` is inside one. */
  rseqAbort(tid: number, pc: bigint): bigint | undefined
  /** Copies an open file of another task into our process. */
  takeFile(pid: number, fd: number): number
  /** How often the thread has gone to sleep: unchanged means it has slept ever since. `undefined` where the kernel does not tell. */
  sleepCount(tid: number): number | undefined
  /** When sleeping threads last ran, on the clock of the port: to a millisecond, and never too early. Not for the pause: it may ask on other processors. */
  lastRanNs(tids: readonly number[]): Map<number, number>
  /** Why a thread that cannot be seized cannot be. */
  whyRefused(pid: number, tid: number): 'ended' | 'kernel-worker' | 'forbidden'
  /** The error that says who or what forbids tracing the process. */
  refusal(pid: number): TidemarkError
  /** The system call a sleeping thread is in; `undefined` when it runs or the kernel does not tell. */
  currentCall(tid: number): number | undefined
  /** Where a thread that will not stop is stuck, in the kernel's words. */
  describeWait(tid: number): string
}
