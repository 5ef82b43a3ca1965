/** Numbers of the system calls that we make a target perform. */
export interface RemoteCalls {
  readonly clone3: number
  readonly closeRange: number
  readonly userfaultfd: number
  readonly madvise: number
}

export interface NoteSet {
  /** The register set's number, for ptrace and as the type of the core's note. */
  readonly set: number
  /** Who names the note: the System V ABI or Linux. */
  readonly owner: 'CORE' | 'LINUX'
}

/** General registers as the kernel lays them out for ptrace, eight bytes each. */
export type Registers = BigUint64Array

/**
 * What differs between processors. Pure values: the numbers and layouts of one machine in one table.
 */
export interface Architecture {
  readonly name: 'x86-64' | 'arm64'
  /** The register set of the general registers, and its size. */
  readonly generalSet: number
  readonly generalBytes: number
  /** Further register sets a core file holds for each thread, in the kernel's order. */
  readonly noteSets: readonly NoteSet[]
  readonly calls: RemoteCalls

  programCounter(registers: Registers): bigint
  /** Where the C library keeps what belongs to the thread. */
  threadPointer(registers: Registers): bigint
  setProgramCounter(registers: Registers, to: bigint): void
  /** Turns `registers` into those of a thread about to perform a system call with the instruction at `at`. */
  placeCall(registers: Registers, at: bigint, call: number, args: readonly (number | bigint)[]): void
  /** What a system call returned: a value, or minus an error number. */
  callResult(registers: Registers): number
  /**
   * Where our interruption gave EINTR to a system call that the kernel does not restart by itself, asks the kernel to
   * restart it after all, unless a signal is handled first. For a thread in the stop that interrupted it.
   * `blockedNs` shortens the timeout of calls that keep it in a register; `undefined` leaves it whole.
   * Returns false, and changes nothing, when the call was not of that kind.
   */
  restartInterrupted(registers: Registers, blockedNs: number | undefined): boolean
  /** Calls whose timeout {@link restartInterrupted} can shorten. */
  readonly timedCalls: ReadonlySet<number>

  /** The code that brings a thread home without us; absent where this processor has none yet. */
  readonly lifeline: Lifeline | undefined
}

/**
 * A few instructions put where the target never executes, so that a thread that is performing a call for us
 * finds its way back if we are killed in the middle. See tracee/lifeline.ts.
 */
export interface Lifeline {
  readonly bytes: number
  /** Offset of the system call instruction at its start: also the place where every other remote call is made. */
  readonly callOffset: number
  /** Offset of 88 bytes for the arguments of clone3. */
  readonly argumentsOffset: number
  /** The code with everything it has to restore. `home` are the registers to return to. */
  assemble(home: Registers, signalMask: bigint): Uint8Array
}
