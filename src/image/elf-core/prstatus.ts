import type { CoreProcess, CoreThread, CoreTimes } from './core.ts'
import { CoreFormatError } from './core-format-error.ts'
import { registerBytes, type CoreMachine } from './machine.ts'
import type { StructReader } from './struct-reader.ts'

/**
 * NT_PRSTATUS: struct elf_prstatus, include/linux/elfcore.h (Linux 6.18), R = 216 or 272 bytes of registers:
 *
 *     0  pr_info.si_signo, si_code, si_errno   12  pr_cursig (16 bits)
 *    16  pr_sigpend   24  pr_sighold
 *    32  pr_pid       36  pr_ppid      40  pr_pgrp     44  pr_sid
 *    48  pr_utime     64  pr_stime     80  pr_cutime   96  pr_cstime: seconds and microseconds, 64 bits each
 *   112  pr_reg    112+R  pr_fpvalid                112+R+8  (end; the last four bytes are padding)
 *
 * fill_prstatus() of fs/binfmt_elf.c sets si_signo and pr_cursig to the signal and leaves si_code and si_errno zero.
 * gcore fills in only pr_cursig, pr_pid and pr_reg: the rest is zero.
 */
const REGISTERS_AT = 112

export type PrStatus = Omit<CoreThread, 'sets' | 'siginfo'>

function prStatusBytes(machine: CoreMachine): number {
  return REGISTERS_AT + registerBytes(machine) + 8
}

export function encodePrStatus(machine: CoreMachine, process: CoreProcess, thread: PrStatus): Uint8Array {
  const bytes = new Uint8Array(prStatusBytes(machine))
  const view = new DataView(bytes.buffer)
  view.setInt32(0, thread.currentSignal, true)
  view.setInt16(12, thread.currentSignal, true)
  view.setBigUint64(16, thread.pendingSignals, true)
  view.setBigUint64(24, thread.blockedSignals, true)
  const ids = [thread.tid, process.ppid, process.pgid, process.sid]
  ids.forEach((id, i) => view.setInt32(32 + 4 * i, id, true))
  const { userMicros, systemMicros, childrenUserMicros, childrenSystemMicros } = thread.times
  const times = [userMicros, systemMicros, childrenUserMicros, childrenSystemMicros]
  times.forEach((micros, i) => {
    view.setBigInt64(48 + 16 * i, BigInt(Math.floor(micros / 1e6)), true)
    view.setBigInt64(56 + 16 * i, BigInt(micros % 1e6), true)
  })
  bytes.set(thread.registers, REGISTERS_AT)
  view.setInt32(REGISTERS_AT + registerBytes(machine), thread.fpValid ? 1 : 0, true)
  return bytes
}

export function decodePrStatus(machine: CoreMachine, note: StructReader): PrStatus {
  const bytes = prStatusBytes(machine)
  if (note.bytes.length !== bytes) {
    throw new CoreFormatError(`NT_PRSTATUS has ${note.bytes.length} bytes, on ${machine} it has ${bytes}`, note.offset)
  }
  return {
    tid: note.i32(32),
    registers: note.bytes.subarray(REGISTERS_AT, REGISTERS_AT + registerBytes(machine)),
    currentSignal: note.i16(12),
    pendingSignals: note.u64(16),
    blockedSignals: note.u64(24),
    fpValid: note.i32(REGISTERS_AT + registerBytes(machine)) !== 0,
    times: decodeTimes(note),
  }
}

function decodeTimes(note: StructReader): CoreTimes {
  const micros = (at: number): number => {
    const value = note.i64(at) * 1_000_000n + note.i64(at + 8)
    if (value < 0n || value > BigInt(Number.MAX_SAFE_INTEGER)) {
      throw new CoreFormatError(`a thread's processor time is ${value} µs, which is absurd`, note.offset + at)
    }
    return Number(value)
  }
  return { userMicros: micros(48), systemMicros: micros(64), childrenUserMicros: micros(80), childrenSystemMicros: micros(96) }
}
