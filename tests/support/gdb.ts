import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import type { TestContext } from 'node:test'
import { address, decodeCore, readCoreMemory, type Core, type CoreSource } from 'tidemark'
import { run } from './programs.ts'

/** What gdb prints to these commands on a core. Its settings files and the network are left out of it. */
export async function gdb(program: string, core: string, commands: readonly string[]): Promise<string> {
  const args = ['-nx', '-batch', '-iex', 'set debuginfod enabled off', '-iex', 'set width 0', ...commands.flatMap((command) => ['-ex', command]), program, core]
  const { stdout, stderr } = await run('gdb', args, { withinMs: 120_000 })
  return `${stdout}\n--- stderr ---\n${stderr}`
}

/** How many threads gdb finds, from the output of `info threads`. */
export function countThreads(text: string): number {
  return text.split('\n').filter((line) => /^[* ] \d+ +(Thread|LWP|process) /.test(line)).length
}

/** A core file opened with our own decoder. */
export interface OpenCore {
  readonly core: Core
  readonly source: CoreSource
  read(at: bigint, length: number): Uint8Array
}

export function openCore(t: TestContext, path: string): OpenCore {
  const file = openSync(path, 'r')
  t.after(() => closeSync(file))
  const source: CoreSource = {
    bytes: fstatSync(file).size,
    read(offset, length) {
      const bytes = Buffer.alloc(length)
      return bytes.subarray(0, readSync(file, bytes, 0, length, offset))
    },
  }
  const core = decodeCore(source)
  return { core, source, read: (at, length) => readCoreMemory(core, source, address(at), length) }
}

const CHUNK_BYTES = 4 << 20

/** Whether the text is anywhere in the writable memory that the image holds. */
export function holdsText({ core, source }: OpenCore, text: string): boolean {
  const wanted = Buffer.from(text)
  for (const { fileOffset, fileBytes, writable } of core.segments) {
    if (!writable) continue
    for (let at = 0; at < fileBytes; at += CHUNK_BYTES) {
      // Each chunk reaches a little into the next, for a text across the border.
      const length = Math.min(fileBytes - at, CHUNK_BYTES + wanted.length)
      if (Buffer.from(source.read(fileOffset + at, length)).includes(wanted)) return true
    }
  }
  return false
}
