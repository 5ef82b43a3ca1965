/** Reading /proc: small text files, read whole and at once. */
import { closeSync, openSync, readSync, readdirSync } from 'node:fs'

let buffer = Buffer.allocUnsafeSlow(1 << 16)

/** The bytes of a /proc file, valid until the next call; `undefined` when the process or the file is gone or forbidden. */
export function readProcBytes(path: string): Buffer | undefined {
  let file: number
  try {
    file = openSync(path, 'r')
  } catch {
    return undefined
  }
  try {
    return readWhole(file)
  } catch {
    return undefined // ESRCH: the process went away between open and read.
  } finally {
    closeSync(file)
  }
}

/** Reads an open file from its start. seq_file answers a page at a time, so this reads until it says 0. */
export function readWhole(file: number): Buffer {
  let length = 0
  for (;;) {
    if (length === buffer.length) {
      const larger = Buffer.allocUnsafeSlow(buffer.length * 2)
      buffer.copy(larger, 0, 0, length)
      buffer = larger
    }
    const read = readSync(file, buffer, length, buffer.length - length, length)
    if (read === 0) return buffer.subarray(0, length)
    length += read
  }
}

export function readProc(path: string): string | undefined {
  return readProcBytes(path)?.toString('latin1')
}

export function listProc(path: string): string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}

/** The fields of /proc/PID/stat from the third on; the second, the name, may hold spaces and parentheses. */
export function readStat(path: string): { readonly name: string; readonly fields: readonly string[] } | undefined {
  const text = readProc(path)
  if (text === undefined) return undefined
  const open = text.indexOf('(')
  const close = text.lastIndexOf(')')
  if (open < 0 || close < 0) return undefined
  return { name: text.slice(open + 1, close), fields: text.slice(close + 2).trimEnd().split(' ') }
}

/** One `Key:\tvalue` line of /proc/PID/status or fdinfo. */
export function statusLine(text: string, key: string): string | undefined {
  const at = text.startsWith(`${key}:`) ? 0 : text.indexOf(`\n${key}:`) + 1
  if (at === 0 && !text.startsWith(`${key}:`)) return undefined
  const end = text.indexOf('\n', at)
  return text.slice(at + key.length + 1, end < 0 ? undefined : end).trim()
}
