import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { spawn } from 'node:child_process'
import { address, decodeCore, readCoreMemory, type Core, type CoreSource } from 'tidemark'
import { examineImage, TOKEN_BYTES, WITNESS_BYTES, type Testimony } from './witness.ts'

export interface ImageReport {
  readonly threads: number
  readonly segments: number
  readonly testimony: Testimony | { readonly kind: 'not-found' }
}

/** Opens an image with the library's own reader, finds the target's witness in it and lets it speak. */
export function verifyImage(path: string, token: Uint8Array): ImageReport {
  using file = new ImageFile(path)
  const core = decodeCore(file)
  return { threads: core.threads.length, segments: core.segments.length, testimony: hearWitness(core, file, token) }
}

class ImageFile implements CoreSource, Disposable {
  readonly bytes: number
  readonly #fd: number

  constructor(path: string) {
    this.#fd = openSync(path, 'r')
    this.bytes = fstatSync(this.#fd).size
  }

  read(offset: number, length: number): Uint8Array {
    const buffer = Buffer.allocUnsafe(length)
    return buffer.subarray(0, readSync(this.#fd, buffer, 0, length, offset))
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd)
  }
}

const WINDOW_BYTES = 4 << 20

/** The target does not say where its witness lies: the image must be enough to find it. */
function hearWitness(core: Core, file: CoreSource, token: Uint8Array): ImageReport['testimony'] {
  for (const segment of core.segments) {
    for (let from = 0; from < segment.fileBytes; from += WINDOW_BYTES) {
      const length = Math.min(WINDOW_BYTES + TOKEN_BYTES - 1, segment.fileBytes - from)
      const window = Buffer.from(file.read(segment.fileOffset + from, length))
      for (let at = window.indexOf(token); at >= 0; at = window.indexOf(token, at + 1)) {
        if (from + at + WITNESS_BYTES > segment.fileBytes) continue
        const bytes = readCoreMemory(core, file, address(segment.start + BigInt(from + at)), WITNESS_BYTES)
        const testimony = examineImage(bytes, token)
        if (testimony.kind !== 'no-witness') return testimony
      }
    }
  }
  return { kind: 'not-found' }
}

/** `#0  0x00007f in epoll_pwait (epfd=10, …) at …` to what matters. */
function withoutArguments(frame: string): string {
  return frame.replace(/ \(.*/, '').trim()
}

const GDB_TIMEOUT_MS = 20_000

export type GdbReport =
  | { readonly kind: 'opened'; readonly frames: readonly string[] }
  | { readonly kind: 'failed'; readonly problem: string }
  | { readonly kind: 'no-gdb' }

/** What gdb makes of the image: the innermost frame of the main thread, which is in compiled JavaScript, and of another. */
export function openInGdb(path: string, program: string): Promise<GdbReport> {
  return new Promise((resolve) => {
    const child = spawn('gdb', ['-nx', '-batch', '-ex', 'bt 1', '-ex', 'thread 2', '-ex', 'bt 1', program, path], {
      stdio: ['ignore', 'pipe', 'pipe'], timeout: GDB_TIMEOUT_MS,
      // It would otherwise ask the network for debug information, and the terminal whether it may.
      env: { ...process.env, DEBUGINFOD_URLS: '' },
    })
    let output = ''
    let complaints = ''
    child.stdout.on('data', (data: Buffer) => { output += data.toString() })
    child.stderr.on('data', (data: Buffer) => { complaints += data.toString() })
    child.on('error', () => resolve({ kind: 'no-gdb' }))
    child.on('close', () => {
      // `thread 2` shows its frame too, so of three the first and the last are wanted.
      const frames = output.split('\n').filter((line) => line.startsWith('#0')).map(withoutArguments)
      const problem = complaints.trim().split('\n').at(-1) ?? ''
      resolve(frames.length > 0 ? { kind: 'opened', frames } : { kind: 'failed', problem: problem === '' ? 'it shows no frame' : problem })
    })
  })
}
