import type { CoreProcess } from './core.ts'
import { CoreFormatError } from './core-format-error.ts'
import type { StructReader } from './struct-reader.ts'
import { decodeText, encodeText } from './text.ts'

/**
 * NT_PRPSINFO: struct elf_prpsinfo, include/linux/elfcore.h (Linux 6.18):
 *
 *    0  pr_state    1  pr_sname    2  pr_zomb    3  pr_nice
 *    8  pr_flag    16  pr_uid     20  pr_gid
 *   24  pr_pid     28  pr_ppid    32  pr_pgrp   36  pr_sid
 *   40  pr_fname (16, with the NUL)             56  pr_psargs (80, with the NUL)
 */
const PRPSINFO_BYTES = 136
const NAME_BYTES = 16
const ARGUMENTS_BYTES = 80
/** pr_state is the letter's place in this, in fill_psinfo() and in gdb's linux_fill_prpsinfo() alike; gdb writes 0 for others. */
const STATES = 'RSDTZW'

export function encodePrPsInfo(process: CoreProcess): Uint8Array {
  const bytes = new Uint8Array(PRPSINFO_BYTES)
  const view = new DataView(bytes.buffer)
  bytes[0] = Math.max(0, STATES.indexOf(process.state))
  bytes[1] = process.state.charCodeAt(0)
  bytes[2] = process.state === 'Z' ? 1 : 0
  view.setInt8(3, process.nice)
  view.setBigUint64(8, process.flags, true)
  view.setUint32(16, process.uid, true)
  view.setUint32(20, process.gid, true)
  const ids = [process.pid, process.ppid, process.pgid, process.sid]
  ids.forEach((id, i) => view.setInt32(24 + 4 * i, id, true))
  bytes.set(encodeText(process.name).subarray(0, NAME_BYTES - 1), 40)
  const text = encodeText(process.arguments).subarray(0, ARGUMENTS_BYTES - 1)
  bytes.set(text.map((byte) => (byte === 0 ? 0x20 : byte)), 56)
  return bytes
}

export function decodePrPsInfo(note: StructReader): CoreProcess {
  if (note.bytes.length !== PRPSINFO_BYTES) {
    throw new CoreFormatError(`NT_PRPSINFO has ${note.bytes.length} bytes, not ${PRPSINFO_BYTES}`, note.offset)
  }
  return {
    state: String.fromCharCode(note.u8(1)),
    nice: note.i8(3),
    flags: note.u64(8),
    uid: note.u32(16),
    gid: note.u32(20),
    pid: note.i32(24),
    ppid: note.i32(28),
    pgid: note.i32(32),
    sid: note.i32(36),
    name: textOf(note.bytes.subarray(40, 40 + NAME_BYTES)),
    arguments: textOf(note.bytes.subarray(56, 56 + ARGUMENTS_BYTES)),
  }
}

/** Up to the NUL, or all of the field: not every writer leaves room for one. */
function textOf(field: Uint8Array): string {
  const end = field.indexOf(0)
  return decodeText(end < 0 ? field : field.subarray(0, end))
}
