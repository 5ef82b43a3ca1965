/** What the tests of this room share: sample cores, random cores, files in memory. */
import fc from 'fast-check'
import { address } from '../../memory/address.ts'
import type { Core, CoreSegment, CoreThread } from './core.ts'
import type { CoreSource } from './core-source.ts'
import { encodeCore } from './encode.ts'
import { registerBytes, type CoreMachine } from './machine.ts'
import { decodeText } from './text.ts'

/** Numbered bytes, so that a field in the wrong place shows. */
export function pattern(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (seed + i * 7) & 0xff)
}

export function sampleThread(machine: CoreMachine, tid: number): CoreThread {
  const sets: CoreThread['sets'] = machine === 'x86-64'
    ? [{ note: 2, owner: 'CORE', bytes: new Uint8Array(512) }]
    : [{ note: 2, owner: 'CORE', bytes: new Uint8Array(528) }, { note: 0x401, owner: 'LINUX', bytes: pattern(16, tid) }]
  const siginfo = new Uint8Array(128)
  siginfo.set([19])
  return {
    tid, sets, siginfo, registers: pattern(registerBytes(machine), tid), pendingSignals: 0x200n, blockedSignals: 1n << 63n,
    currentSignal: 19, fpValid: true,
    times: { userMicros: 1_000_001, systemMicros: 2_000_002, childrenUserMicros: 3_000_003, childrenSystemMicros: 4_999_999 },
  }
}

/** Two threads, two mapped files, three segments: one saved whole, one in part, one not at all. */
export function sampleCore(machine: CoreMachine): Core {
  const pageBytes = machine === 'x86-64' ? 4096 : 65536
  const auxv = new BigUint64Array([6n, BigInt(pageBytes), 23n, 0n, 0n, 0n])
  return {
    machine, pageBytes,
    process: {
      pid: 4242, ppid: 4000, pgid: 4242, sid: 3999, uid: 1000, gid: 1001, state: 'S', nice: -5, flags: 0x400000n,
      name: 'tide-mark', arguments: './tide-mark --größe 5',
    },
    threads: [sampleThread(machine, 4243), sampleThread(machine, 4242)],
    auxv: new Uint8Array(auxv.buffer),
    files: [
      { start: address(0x40_0000n), end: address(0x42_0000n), pageOffset: 0, path: '/usr/bin/tide-mark' },
      { start: address(0x7f00_0000_0000n), end: address(0x7f00_0001_0000n), pageOffset: 3, path: '/tmp/ein paar Wörter (deleted)' },
    ],
    segments: [
      { start: address(0x40_0000n), memoryBytes: 0x2_0000, fileOffset: 64, fileBytes: 32, readable: true, writable: false, executable: true },
      { start: address(0x10_0000_0000n), memoryBytes: 64, fileOffset: 96, fileBytes: 64, readable: true, writable: true, executable: false },
      { start: address(0xffff_ffff_ff60_0000n), memoryBytes: 4096, fileOffset: 160, fileBytes: 0, readable: false, writable: false, executable: true },
    ],
  }
}

/** The whole file, with numbered bytes as memory. */
export function fileOf(core: Core, memoryBytes: number): Uint8Array {
  const { header, tail } = encodeCore(core, 64 + memoryBytes)
  const file = new Uint8Array(64 + memoryBytes + tail.length)
  file.set(header)
  file.set(pattern(memoryBytes, 1), 64)
  file.set(tail, 64 + memoryBytes)
  return file
}

export interface CountingSource extends CoreSource {
  readBytes: number
  readBytesMax: number
}

/** Gives out Node's Buffers, as a real file does, and counts: what is asked for is what a careless decoder allocates. */
export function sourceOf(file: Uint8Array): CountingSource {
  return {
    bytes: file.length, readBytes: 0, readBytesMax: 0,
    read(offset, length) {
      this.readBytes += length
      this.readBytesMax = Math.max(this.readBytesMax, length)
      return Buffer.from(file.subarray(offset, offset + length))
    },
  }
}

/** Plain objects: fast-check would sometimes leave out the prototype, and deepEqual compares it. */
function record<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record<T>(model, { noNullPrototype: true })
}

const word = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
const id = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })
const bytesOf = (length: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: length, maxLength: length })
/** Any bytes but NUL, UTF-8 or not; sometimes real text. */
const text = (maxLength: number): fc.Arbitrary<string> => fc.oneof(
  fc.uint8Array({ min: 1, maxLength }).map(decodeText),
  fc.string({ unit: 'grapheme', maxLength: Math.floor(maxLength / 32) }).filter((s) => !s.includes('\0')),
)

function threads(machine: CoreMachine): fc.Arbitrary<CoreThread> {
  const linux = machine === 'x86-64' ? [0x200, 0x201, 0x202, 0x204] : [0x401, 0x402, 0x404, 0x405, 0x410]
  const kind = fc.constantFrom({ note: 2, owner: 'CORE' } as const, ...linux.map((note) => ({ note, owner: 'LINUX' } as const)))
  const micros = fc.maxSafeNat()
  return record({
    tid: id, registers: bytesOf(registerBytes(machine)), pendingSignals: word, blockedSignals: word,
    currentSignal: fc.integer({ min: -(2 ** 15), max: 2 ** 15 - 1 }), fpValid: fc.boolean(),
    siginfo: fc.option(bytesOf(128), { nil: undefined }),
    sets: fc.array(fc.tuple(kind, fc.uint8Array({ maxLength: 40 })).map(([k, bytes]) => ({ ...k, bytes })), { maxLength: 4 }),
    times: record({ userMicros: micros, systemMicros: micros, childrenUserMicros: micros, childrenSystemMicros: micros }),
  })
}

/** Segments from gaps and sizes, so that they ascend; the file part of each lies below `tailOffset`. */
function segments(tailOffset: number): fc.Arbitrary<CoreSegment[]> {
  const part = record({
    gap: fc.bigInt({ min: 0n, max: 2n ** 58n }), memoryBytes: fc.integer({ min: 1, max: 2 ** 40 }), fileBytes: fc.nat(2 ** 40), fileOffset: fc.nat(),
    readable: fc.boolean(), writable: fc.boolean(), executable: fc.boolean(),
  })
  return fc.array(part, { maxLength: 12 }).map((parts) => {
    let at = 0n
    return parts.map(({ gap, memoryBytes, fileBytes, fileOffset, ...flags }) => {
      const saved = Math.min(memoryBytes, fileBytes, tailOffset - 64)
      const start = address(at + gap)
      at = start + BigInt(memoryBytes)
      return { start, memoryBytes, fileBytes: saved, fileOffset: 64 + (fileOffset % (tailOffset - 64 - saved + 1)), ...flags }
    })
  })
}

export const cores: fc.Arbitrary<{ core: Core; tailOffset: number }> = fc
  .tuple(fc.constantFrom<CoreMachine>('x86-64', 'arm64'), fc.integer({ min: 64, max: 3000 }))
  .chain(([machine, tailOffset]) => record({
    tailOffset: fc.constant(tailOffset),
    core: record({
      machine: fc.constant(machine), pageBytes: fc.constantFrom(4096, 16384, 65536),
      process: record({
        pid: id, ppid: id, pgid: id, sid: id, uid: fc.nat(2 ** 32 - 1), gid: fc.nat(2 ** 32 - 1), flags: word,
        state: fc.constantFrom(...'RSDTZWtIX'), nice: fc.integer({ min: -20, max: 19 }), name: text(15), arguments: text(79),
      }),
      threads: fc.array(threads(machine), { minLength: 1, maxLength: 4 }),
      auxv: fc.uint8Array({ maxLength: 64 }),
      files: fc.array(fc.tuple(word, word, fc.maxSafeNat(), text(300)).map(([a, b, pageOffset, path]) => ({
        start: address(a < b ? a : b), end: address(a < b ? b : a), pageOffset, path,
      })), { maxLength: 5 }),
      segments: segments(tailOffset),
    }),
  }))
