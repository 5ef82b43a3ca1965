import { closeSync, constants, existsSync, fstatSync, ftruncateSync, openSync, readSync, renameSync, statSync, unlinkSync, writeSync, type Stats } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import type { Block } from '../kernel/block.ts'
import { isTidemarkError, TidemarkError } from '../kernel/errors.ts'
import type { Output, OutputPlan } from '../kernel/output.ts'
import { allocateBlock } from './block.ts'
import { callFailed, errno, errnoName } from './errno.ts'
import { systemCall } from './ffi.ts'
import { POLLOUT, pollFile } from './poll.ts'
import { NR } from './system-calls.ts'

/** open(2): a file without a name, gone by itself if we are killed. Node has no constant for it. */
const O_TMPFILE = 0o20200000
const AT_FDCWD = -100
const AT_SYMLINK_FOLLOW = 0x400
const STDOUT = 1
const POURED_BYTES = 32 << 10

/** Writes beside the final name and moves there at the end, or, for a pipe, collects and then pours. */
export function createOutput(plan: OutputPlan): Output {
  if (plan.path === '-' || isStream(plan.path)) return new PouredFile(plan.path)
  refuseTakenName(plan)
  return new NamedFile(plan)
}

function statOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false })
  } catch (cause) {
    throw fileError(path, cause)
  }
}

function isStream(path: string): boolean {
  const stat = statOf(path)
  return stat !== undefined && !stat.isFile() && !stat.isDirectory()
}

function refuseTakenName(plan: OutputPlan): void {
  const stat = statOf(plan.path)
  if (stat?.isDirectory()) {
    throw new TidemarkError('failed', `${plan.path} is a directory`, { hint: 'name a file in it' })
  }
  if (stat !== undefined && !plan.replace) {
    throw new TidemarkError('failed', `${plan.path} exists`, { hint: 'choose another name, or replace it with --force' })
  }
}

function fileError(path: string, cause: unknown): TidemarkError {
  const code = (cause as NodeJS.ErrnoException).code ?? 'unknown'
  const what: Record<string, string> = {
    ENOSPC: 'the disk is full', EDQUOT: 'the disk quota is used up', EFBIG: 'the file would be larger than the file system or RLIMIT_FSIZE allows',
    ELOOP: 'too many symbolic links', ENAMETOOLONG: 'the name is too long', ENOENT: 'no such directory', ENOTDIR: 'a part of the path is not a directory', EACCES: 'not permitted', EROFS: 'the file system is read-only', ENOTSUP: 'that file system takes no new files', EPERM: 'that file system takes no new files', EPIPE: 'the reader went away',
  }
  return new TidemarkError(code === 'EACCES' ? 'not-permitted' : 'failed', `cannot write ${path}: ${what[code] ?? code}`, { errno: code, cause, hint: 'choose another place' })
}

/** A file open for writing that nobody sees yet. `temporary` is its name where the file system cannot do without. */
interface Unnamed {
  readonly file: number
  readonly temporary: string | undefined
}

function openUnnamed(directory: string, name: string): Unnamed {
  try {
    return { file: openSync(directory, O_TMPFILE | constants.O_RDWR, 0o600), temporary: undefined }
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    if (code !== 'EOPNOTSUPP' && code !== 'EISDIR') throw cause
    const temporary = join(directory, `.${name}.${process.pid}.partial`)
    return { file: openSync(temporary, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600), temporary }
  }
}

class NamedFile implements Output {
  readonly #plan: OutputPlan
  readonly #unnamed: Unnamed
  #open = true

  constructor(plan: OutputPlan) {
    this.#plan = plan
    try {
      this.#unnamed = openUnnamed(dirname(plan.path), basename(plan.path))
    } catch (cause) {
      throw fileError(plan.path, cause)
    }
  }

  write(from: Block, at: number, length: number, fileOffset: number): void {
    writeFully(this.#unnamed.file, from, at, length, fileOffset, this.#plan.path)
  }

  commit(fileBytes: number): void {
    try {
      ftruncateSync(this.#unnamed.file, fileBytes)
    } catch (cause) {
      throw fileError(this.#plan.path, cause)
    }
    this.#publish()
    this[Symbol.dispose]()
  }

  #publish(): void {
    const { path, replace } = this.#plan
    const { file, temporary } = this.#unnamed
    if (temporary !== undefined) {
      if (!replace && existsSync(path)) throw new TidemarkError('failed', `${path} appeared while we wrote`)
      renameSync(temporary, path)
      return
    }
    if (linkFile(file, path) === 'linked') return
    if (!replace) throw new TidemarkError('failed', `${path} appeared while we wrote`, { hint: 'choose another name, or replace it with --force' })
    const beside = join(dirname(path), `.${basename(path)}.${process.pid}.partial`)
    if (linkFile(file, beside) === 'taken') throw new TidemarkError('failed', `${beside} is in the way`, { hint: 'remove it' })
    renameSync(beside, path)
  }

  [Symbol.dispose](): void {
    if (!this.#open) return
    this.#open = false
    closeSync(this.#unnamed.file)
    const { temporary } = this.#unnamed
    if (temporary !== undefined && existsSync(temporary)) unlinkSync(temporary)
  }
}

/** linkat(2) of an O_TMPFILE file through its /proc/self/fd link. */
function linkFile(file: number, path: string): 'linked' | 'taken' {
  using names = allocateBlock(8192)
  const source = `/proc/self/fd/${file}\0`
  const { written } = new TextEncoder().encodeInto(source, names.bytes)
  new TextEncoder().encodeInto(`${path}\0`, names.bytes.subarray(written))
  const result = systemCall(NR.linkat, AT_FDCWD, names.address, AT_FDCWD, names.address + written, AT_SYMLINK_FOLLOW)
  if (result === -errno.EEXIST) return 'taken'
  if (result < 0) throw callFailed(`naming ${path}`, result)
  return 'linked'
}

/** For a pipe, a device or standard output: pages are written out of order, so they wait in a nameless file. */
class PouredFile implements Output {
  readonly #path: string
  readonly #unnamed: Unnamed

  constructor(path: string) {
    this.#path = path === '-' ? 'standard output' : path
    if (path === '-' && fstatSync(STDOUT).isCharacterDevice() && process.stdout.isTTY) {
      throw new TidemarkError('usage', 'a core file would upset your terminal', { hint: 'redirect standard output, or use -o FILE' })
    }
    this.#unnamed = openUnnamed(tmpdir(), 'tidemark-spool')
  }

  write(from: Block, at: number, length: number, fileOffset: number): void {
    writeFully(this.#unnamed.file, from, at, length, fileOffset, tmpdir())
  }

  commit(fileBytes: number, checkAborted: () => void): void {
    const out = this.#openPatiently(checkAborted)
    const piece = Buffer.allocUnsafe(1 << 20)
    try {
      ftruncateSync(this.#unnamed.file, fileBytes)
      for (let at = 0; at < fileBytes;) {
        const read = readSync(this.#unnamed.file, piece, 0, Math.min(piece.length, fileBytes - at), at)
        for (let done = 0; done < read;) {
          checkAborted()
          done += writeOrWait(out, piece, done, read - done)
        }
        at += read
      }
    } catch (cause) {
      throw isTidemarkError(cause) ? cause : fileError(this.#path, cause)
    } finally {
      if (out !== STDOUT) closeSync(out)
    }
  }

  /** Opened anew and non-blocking, so that a reader who never comes, or never reads, does not make us deaf. */
  #openPatiently(checkAborted: () => void): number {
    const isStdout = this.#path === 'standard output'
    for (;;) {
      checkAborted()
      try {
        return openSync(isStdout ? `/proc/self/fd/${STDOUT}` : this.#path, constants.O_WRONLY | constants.O_NONBLOCK)
      } catch (cause) {
        if (isStdout) return STDOUT // A socket cannot be opened anew.
        if ((cause as NodeJS.ErrnoException).code !== 'ENXIO') throw fileError(this.#path, cause)
        nap(20)
      }
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#unnamed.file)
    if (this.#unnamed.temporary !== undefined) unlinkSync(this.#unnamed.temporary)
  }
}

/** As much as the reader takes within a moment, which may be nothing. A socket that is said to be writable takes 32 KiB. */
function writeOrWait(file: number, bytes: Buffer, from: number, length: number): number {
  if (pollFile(file, POLLOUT, 50) === 0) return 0
  try {
    return writeSync(file, bytes, from, Math.min(length, POURED_BYTES))
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EAGAIN') throw cause
    return 0
  }
}

function nap(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds)
}

/** Straight from the block: for scattered pages half of what fs.writeSync costs is Node's own work. */
function writeFully(file: number, from: Block, at: number, length: number, fileOffset: number, path: string): void {
  for (let done = 0; done < length;) {
    const written = systemCall(NR.pwrite64, file, from.address + at + done, length - done, fileOffset + done)
    if (written < 0) throw fileError(path, Object.assign(new Error(`pwrite: ${errnoName(written)}`), { code: errnoName(written) }))
    done += written
  }
}
