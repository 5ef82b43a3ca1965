/**
 * elf-core/ is the format of Linux core files of 64-bit little-endian processes: bytes to values and back.
 * It does no I/O: it never opens, reads or writes a file, it only asks a `CoreSource` for bytes.
 * Layouts are those of Linux 6.18 (fs/binfmt_elf.c, include/linux/elfcore.h, include/uapi/linux/elf.h) and of
 * gdb 13.1 (gdb/linux-tdep.c, gdb/gcore-elf.c); both writers' files are read back in the tests.
 *
 * Text (paths, names, arguments) is UTF-8 with every byte kept, see text.ts.
 */
import type { Address } from '../../memory/address.ts'
import type { CoreMachine } from './machine.ts'

/** A range of the process's memory, and where in the file its contents lie. */
export interface CoreSegment {
  readonly start: Address
  readonly memoryBytes: number
  /** The first `fileBytes` bytes of the range lie here; of the others the core says nothing, not even that they are zero. */
  readonly fileOffset: number
  readonly fileBytes: number
  readonly readable: boolean
  readonly writable: boolean
  readonly executable: boolean
}

/** Processor time. The kernel fills it in; gcore leaves it zero. */
export interface CoreTimes {
  readonly userMicros: number
  readonly systemMicros: number
  readonly childrenUserMicros: number
  readonly childrenSystemMicros: number
}

/** A register set other than the general registers, as PTRACE_GETREGSET returns it. */
export interface CoreRegisterSet {
  /** The NT_… number: 2 is NT_FPREGSET (owner CORE), 0x202 NT_X86_XSTATE, 0x401 NT_ARM_TLS (owner LINUX). */
  readonly note: number
  readonly owner: 'CORE' | 'LINUX'
  readonly bytes: Uint8Array
}

export interface CoreThread {
  readonly tid: number
  /** The NT_PRSTATUS register set, raw: `registerBytes(machine)` bytes. */
  readonly registers: Uint8Array
  /** The other sets, in the order the kernel writes them. */
  readonly sets: readonly CoreRegisterSet[]
  readonly pendingSignals: bigint
  readonly blockedSignals: bigint
  readonly currentSignal: number
  /** A siginfo_t of 128 bytes. `undefined`: the file has none, as in kernel cores for every thread but the first. */
  readonly siginfo: Uint8Array | undefined
  /** Whether there is a floating point set (pr_fpvalid). */
  readonly fpValid: boolean
  readonly times: CoreTimes
}

/** What NT_PRPSINFO says. The ids are also written into every thread's NT_PRSTATUS, as the kernel does. */
export interface CoreProcess {
  readonly pid: number
  readonly ppid: number
  readonly pgid: number
  readonly sid: number
  readonly uid: number
  readonly gid: number
  /** One letter, as in /proc/PID/stat. */
  readonly state: string
  readonly nice: number
  readonly flags: bigint
  /** The command's name; cut to 15 bytes, as the kernel cuts it. */
  readonly name: string
  /** The command line; cut to 79 bytes. NULs between arguments are written as spaces, as the kernel does. */
  readonly arguments: string
}

/** A mapped file, NT_FILE. */
export interface CoreFileMapping {
  readonly start: Address
  readonly end: Address
  /** Where in the file the mapping begins, in pages. */
  readonly pageOffset: number
  readonly path: string
}

export interface Core {
  readonly machine: CoreMachine
  readonly pageBytes: number
  readonly process: CoreProcess
  /** At least one. The first is the one a debugger selects. */
  readonly threads: readonly CoreThread[]
  /** Raw, as /proc/PID/auxv has it; empty when the file has none. */
  readonly auxv: Uint8Array
  readonly files: readonly CoreFileMapping[]
  /** Invariant: ascending by address, none empty, none overlapping. */
  readonly segments: readonly CoreSegment[]
}
