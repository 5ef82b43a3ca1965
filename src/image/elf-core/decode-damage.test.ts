import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Core } from './core.ts'
import { CoreFormatError, isCoreFormatError } from './core-format-error.ts'
import { cores, fileOf, sampleCore, sourceOf } from './core-samples.test.ts'
import type { CoreSource } from './core-source.ts'
import { decodeCore } from './decode.ts'

/** Offsets in the sample's file: 96 bytes of memory, so the tail begins at 160; four program headers of 56 bytes. */
const [TABLE, NOTES] = [160, 160 + 4 * 56]
/** The first thread's notes on x86-64, each with 20 bytes of header and owner in front of its contents. */
const SIGINFO = NOTES + 20 + 336 + 20 + 136
const AUXV = SIGINFO + 20 + 128
const FILE = AUXV + 20 + 48

const READ_BYTES_MAX = 2 ** 20

/** Decodes what may be damaged: a core, or a CoreFormatError, in little time and memory. Anything else fails the test. */
function tryDecode(file: Uint8Array): Core | CoreFormatError {
  const source = sourceOf(file)
  const started = performance.now()
  try {
    return decodeCore(source)
  } catch (error) {
    if (!(error instanceof CoreFormatError)) throw error
    assert.match(error.message, /at offset 0x[0-9a-f]+ of the core file/)
    return error
  } finally {
    assert.ok(source.readBytes <= READ_BYTES_MAX, `${source.readBytes} bytes read of a file of ${file.length}`)
    assert.ok(performance.now() - started < 2000)
  }
}

const samples = [fileOf(sampleCore('x86-64'), 96), fileOf(sampleCore('arm64'), 96)] as const

function damaged(change: (view: DataView, file: Uint8Array) => void): Uint8Array {
  const file = samples[0].slice()
  change(new DataView(file.buffer), file)
  return file
}

function refusal(file: Uint8Array): string {
  const result = tryDecode(file)
  assert.ok(isCoreFormatError(result), 'it was decoded')
  return result.message
}

test('a core cut short anywhere is refused with a CoreFormatError', () => {
  for (const file of samples) for (let length = 0; length < file.length; length++) refusal(file.subarray(0, length))
})

test('a damaged core is decoded or refused with a CoreFormatError, whatever the damage', () => {
  const edits = fc.array(fc.tuple(fc.nat(), fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff))), { minLength: 1, maxLength: 8 })
  fc.assert(fc.property(fc.constantFrom(...samples), edits, (sample, list) => {
    const file = sample.slice()
    for (const [at, byte] of list) file[at % file.length] = byte
    tryDecode(file)
  }), { numRuns: 20_000 })
})

test('damage in headers, where sizes are, is decoded or refused with a CoreFormatError', () => {
  const words = fc.oneof(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.nat(8192).map(BigInt), fc.constantFrom(0n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n))
  const places = fc.oneof(fc.nat(7).map((i) => i * 8), fc.nat(27).map((i) => TABLE + i * 8), fc.nat(80).map((i) => NOTES + i * 4))
  fc.assert(fc.property(fc.constantFrom(...samples), fc.array(fc.tuple(places, words), { minLength: 1, maxLength: 3 }), (sample, list) => {
    const file = sample.slice()
    const view = new DataView(file.buffer)
    for (const [at, word] of list) view.setBigUint64(at, word, true)
    tryDecode(file)
  }), { numRuns: 20_000 })
})

test('garbage is refused with a CoreFormatError', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), fc.boolean(), (garbage, withHeader) => {
    const file = new Uint8Array(withHeader ? 64 + garbage.length : garbage.length)
    if (withHeader) file.set(samples[0].subarray(0, 64))
    file.set(garbage, withHeader ? 64 : 0)
    refusal(file)
  }), { numRuns: 5000 })
})

test('any core with a piece cut out is decoded or refused with a CoreFormatError', () => {
  fc.assert(fc.property(cores, fc.nat(), fc.nat(64), ({ core, tailOffset }, at, cut) => {
    const file = fileOf(core, tailOffset - 64)
    const from = at % file.length
    file.copyWithin(from, from + cut)
    tryDecode(file.subarray(0, Math.max(from, file.length - cut)))
  }), { numRuns: 1000 })
})

test('the error says what is wrong and where', () => {
  const says = (file: Uint8Array, message: RegExp): void => assert.match(refusal(file), message)
  says(new Uint8Array(0), /the ELF header should take 64 bytes, but the file ends at 0x0 \(at offset 0x0 /)
  says(new TextEncoder().encode('#!/bin/sh\n'.repeat(10)), /not an ELF file/)
  says(damaged((view) => view.setUint8(4, 1)), /not a 64-bit ELF file/)
  says(damaged((view) => view.setUint8(5, 2)), /not a little-endian ELF file/)
  says(damaged((view) => view.setUint16(16, 2, true)), /not a core: its type is 2/)
  says(damaged((view) => view.setUint16(18, 243, true)), /machine 243/)
  says(damaged((view) => view.setUint16(18, 183, true)), /NT_PRSTATUS has 336 bytes, on arm64 it has 392/)
  says(damaged((view) => view.setUint16(54, 32, true)), /program headers of 32 bytes/)
  says(damaged((view) => view.setBigUint64(32, 2n ** 60n, true)), /offset of the program headers is 0x1000000000000000/)
  says(damaged((view) => view.setUint16(56, 0xffff, true)), /in a section header, but there is none/)
  says(damaged((view) => view.setUint32(TABLE, 0, true)), /no NT_PRPSINFO note/)
  says(damaged((view) => view.setUint32(NOTES + 8, 77, true)), /before any NT_PRSTATUS/)
  says(damaged((view) => view.setUint32(NOTES + 4, 2 ** 20, true)), /the notes are cut short: a note of type 0x1 should end/)
  says(damaged((view) => view.setBigUint64(TABLE + 32, 20n + 340n, true)), /the notes are cut short: 4 bytes left/)
  says(samples[0].subarray(0, samples[0].length - 4), /the notes are cut short: they should end at 0x[0-9a-f]+, the file ends at 0x/)
  says(damaged((_, file) => file.fill(0, NOTES)), /never written/)
  says(damaged((view) => view.setBigUint64(TABLE + 56 + 16, 0x10_0000_0000n, true)), /two segments hold the memory at 0x1000000000/)
  says(damaged((view) => view.setBigUint64(TABLE + 56 + 40, 8n, true)), /has 32 bytes in the file but only 8 in memory/)
})

test('the error says what is wrong within a note', () => {
  const says = (change: (view: DataView, file: Uint8Array) => void, message: RegExp): void => assert.match(refusal(damaged(change)), message)
  says((view) => view.setUint32(NOTES, 100, true), /owner has a name of 100 bytes/)
  says((view) => view.setBigInt64(NOTES + 20 + 48, -1n, true), /processor time is -999999 µs/)
  says((view) => view.setUint32(SIGINFO + 8, 6, true), /a second NT_AUXV note/)
  says((view) => view.setUint32(AUXV + 8, 0x53494749, true), /NT_SIGINFO has 48 bytes/)
  says((view) => view.setBigUint64(FILE + 20, 4n, true), /NT_FILE claims 4 mappings, its 115 bytes cannot hold them/)
  says((view) => view.setBigUint64(FILE + 20 + 8, 5000n, true), new RegExp(`a page size of 5000 bytes \\(at offset 0x${(FILE + 20).toString(16)} `))
  says((view) => view.setBigUint64(FILE + 20 + 8, 2048n, true), /a page size of 2048 bytes/)
  says((view) => view.setBigUint64(FILE + 20 + 16, 0x43_0000n, true), /ends \(0x420000\) before it starts \(0x430000\)/)
  says((view) => view.setUint8(FILE + 20 + 114, 0x41), /a path has no end/)
  says((view) => view.setBigUint64(FILE + 20 + 32, 2n ** 63n, true), /which is not a page of 4096 bytes/)
  says((view) => view.setUint32(FILE + 20 + 8, 1, true), /maps .*Wörter \(deleted\) from byte 3, which is not a page of 4096/)
  says((view) => view.setBigUint64(TABLE + 3 * 56 + 40, 2n ** 52n, true), /past the end of the address space/)
})

test('the page size comes from NT_FILE, else from the auxiliary vector, else from the segments', () => {
  const withNone = (view: DataView): void => {
    view.setUint32(FILE + 8, 0x4711, true)
    view.setBigUint64(AUXV + 20, 7n, true)
    for (let i = 1; i < 4; i++) view.setBigUint64(TABLE + i * 56 + 48, 1n, true)
  }
  const pageBytes = (change: (view: DataView) => void): number => (tryDecode(damaged((view) => { withNone(view); change(view) })) as Core).pageBytes
  assert.match(refusal(damaged(withNone)), /nothing in the core tells the page size/)
  assert.equal(pageBytes((view) => view.setBigUint64(TABLE + 2 * 56 + 48, 16384n, true)), 16384)
  assert.equal(pageBytes((view) => view.setBigUint64(AUXV + 20, 6n, true)), 4096)
})

test('segments out of order are sorted, empty ones and other program headers left out', () => {
  const file = damaged((view, bytes) => {
    const [first, second] = [bytes.slice(TABLE + 56, TABLE + 112), bytes.slice(TABLE + 112, TABLE + 168)]
    bytes.set(second, TABLE + 56)
    bytes.set(first, TABLE + 112)
    view.setBigUint64(TABLE + 168 + 40, 0n, true)
  })
  assert.deepEqual((tryDecode(file) as Core).segments, sampleCore('x86-64').segments.slice(0, 2))
  const tags = damaged((view) => view.setUint32(TABLE + 56, 0x7000_0002, true)) // PT_AARCH64_MEMTAG_MTE
  assert.deepEqual((tryDecode(tags) as Core).segments, sampleCore('x86-64').segments.slice(1))
})

/** A file of any size without the bytes: a header, and something else everywhere behind it. */
function hugeSource(bytes: number, header: Uint8Array, rest: (offset: number) => number): CoreSource & { readBytesMax: number } {
  return {
    bytes, readBytesMax: 0,
    read(offset, length) {
      this.readBytesMax = Math.max(this.readBytesMax, length)
      return Uint8Array.from({ length }, (_, i) => header[offset + i] ?? rest(offset + i))
    },
  }
}

test('four billion claimed program headers are refused before any is read', () => {
  const file = fileOf(sampleCore('x86-64'), 96)
  const view = new DataView(file.buffer)
  view.setUint16(56, 0xffff, true)
  view.setBigUint64(40, 4096n, true)
  const source = hugeSource(2 ** 45, file, () => 0xff)
  assert.throws(() => decodeCore(source), /4294967295 program headers/)
  assert.equal(source.readBytesMax, 64)
})

test('a terabyte of notes is refused, and zeros for notes are not walked', () => {
  for (const [notes, message] of [[2n ** 40n, /bytes of notes/], [2n ** 29n, /never written/]] as const) {
    const file = fileOf(sampleCore('x86-64'), 96).subarray(0, NOTES)
    new DataView(file.buffer).setBigUint64(TABLE + 32, notes, true)
    const source = hugeSource(2 ** 41, file, () => 0)
    assert.throws(() => decodeCore(source), message)
    assert.ok(source.readBytesMax <= READ_BYTES_MAX)
  }
})

test('many program headers for the same notes do not multiply them', () => {
  const count = 2000
  const file = new Uint8Array(64 + count * 56 + 100_000)
  file.set(samples[0].subarray(0, 64))
  const view = new DataView(file.buffer)
  view.setBigUint64(32, 64n, true)
  view.setUint16(56, count, true)
  for (let i = 0; i < count; i++) {
    view.setUint32(64 + i * 56, 4, true)
    view.setBigUint64(64 + i * 56 + 8, BigInt(64 + count * 56), true)
    view.setBigUint64(64 + i * 56 + 32, 100_000n, true)
  }
  assert.match(refusal(file), /than the file has/)
})

test('a source that gives fewer bytes than it said is a CoreFormatError', () => {
  const file = samples[0]
  assert.throws(() => decodeCore({ bytes: file.length, read: (offset, length) => file.subarray(offset, offset + length - 1) }), CoreFormatError)
})
