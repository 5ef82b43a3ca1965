import type { Core, CoreFileMapping, CoreProcess, CoreSegment, CoreThread } from './core.ts'
import { ELF_HEADER_BYTES } from './elf-header.ts'
import { registerBytes } from './machine.ts'
import { firstOverlap } from './program-header.ts'

/** Refuses, with a RangeError, what the format would silently cut or wrap: it would be a wrong core that looks right. */
export function requireEncodable(core: Core, tailOffset: number): void {
  requireInteger(tailOffset, 'the offset of the tail', ELF_HEADER_BYTES)
  requireInteger(core.pageBytes, 'the page size', 4096, 65536)
  requireThat(Number.isInteger(Math.log2(core.pageBytes)), `the page size is ${core.pageBytes}, not a power of two`)
  requireThat(core.threads.length > 0, 'a core needs a thread')
  requireProcess(core.process)
  for (const thread of core.threads) requireThread(core, thread)
  requireFiles(core.files)
  for (const segment of core.segments) requireSegment(segment, tailOffset)
  const overlap = firstOverlap(core.segments)
  requireThat(overlap === undefined, `the segment at 0x${overlap?.start.toString(16)} begins before the one in front of it ends`)
}

function requireThat(right: boolean, what: string): void {
  if (!right) throw new RangeError(what)
}

function requireInteger(value: number, what: string, min = 0, max = Number.MAX_SAFE_INTEGER): void {
  requireThat(Number.isSafeInteger(value) && min <= value && value <= max, `${what} is ${value}, not an integer from ${min} to ${max}`)
}

function requireWord(value: bigint, what: string): void {
  requireThat(value >= 0n && value < 1n << 64n, `${what} is ${value}, not a 64-bit word`)
}

function requireFiles(files: readonly CoreFileMapping[]): void {
  for (const file of files) {
    requireThat(!file.path.includes('\0'), `a path has a NUL in it: ${JSON.stringify(file.path)}`)
    requireWord(file.start, `the start of the mapping of ${file.path}`)
    requireWord(file.end, `the end of the mapping of ${file.path}`)
    requireThat(file.start <= file.end, `the mapping of ${file.path} ends before it starts`)
    requireInteger(file.pageOffset, `the page offset of ${file.path}`)
  }
}

function requireProcess(process: CoreProcess): void {
  for (const key of ['pid', 'ppid', 'pgid', 'sid'] as const) requireInteger(process[key], key, -(2 ** 31), 2 ** 31 - 1)
  for (const key of ['uid', 'gid'] as const) requireInteger(process[key], key, 0, 2 ** 32 - 1)
  requireInteger(process.nice, 'nice', -128, 127)
  requireWord(process.flags, 'flags')
  requireThat(process.state.length === 1 && process.state <= '\xff', `the state is ${JSON.stringify(process.state)}, not a letter`)
  requireThat(!process.name.includes('\0'), `the name has a NUL in it: ${JSON.stringify(process.name)}`)
}

function requireThread(core: Core, thread: CoreThread): void {
  const who = `of thread ${thread.tid}`
  requireInteger(thread.tid, 'a thread id', -(2 ** 31), 2 ** 31 - 1)
  requireInteger(thread.currentSignal, `the signal ${who}`, -(2 ** 15), 2 ** 15 - 1)
  requireWord(thread.pendingSignals, `the pending signals ${who}`)
  requireWord(thread.blockedSignals, `the blocked signals ${who}`)
  const { registers, siginfo, times } = thread
  const bytes = registerBytes(core.machine)
  requireThat(registers.length === bytes, `the registers ${who} have ${registers.length} bytes, on ${core.machine} they have ${bytes}`)
  requireThat(siginfo === undefined || siginfo.length === 128, `the siginfo ${who} has ${siginfo?.length} bytes, not 128`)
  for (const micros of Object.values(times)) requireInteger(micros, `a processor time ${who}`)
}

function requireSegment(segment: CoreSegment, tailOffset: number): void {
  const { start, memoryBytes, fileOffset, fileBytes } = segment
  const which = `the segment at 0x${start.toString(16)}`
  requireInteger(memoryBytes, `the size of ${which}`, 1)
  requireInteger(fileBytes, `the size in the file of ${which}`, 0, memoryBytes)
  requireInteger(fileOffset, `the file offset of ${which}`)
  requireThat(start + BigInt(memoryBytes) <= 1n << 64n, `${which} ends past the address space`)
  const inPlace = fileBytes === 0 || (fileOffset >= ELF_HEADER_BYTES && fileOffset + fileBytes <= tailOffset)
  requireThat(inPlace, `${which} lies at file offsets ${fileOffset} to ${fileOffset + fileBytes}, not between header and tail (${tailOffset})`)
}
