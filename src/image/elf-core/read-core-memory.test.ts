import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { address } from '../../memory/address.ts'
import type { Core, CoreSegment } from './core.ts'
import { CoreFormatError } from './core-format-error.ts'
import { fileOf, pattern, sampleCore, sourceOf } from './core-samples.test.ts'
import { CoreMemoryError, readCoreMemory } from './read-core-memory.ts'

const flags = { readable: true, writable: true, executable: false }
const MEMORY_BYTES = 256

/** In the address space: A whole [0x1000, 0x1010), B right behind it and half saved [0x1010, 0x1030), C whole [0x2000, 0x2040). */
const segments: readonly CoreSegment[] = [
  { start: address(0x1000n), memoryBytes: 16, fileOffset: 200, fileBytes: 16, ...flags },
  { start: address(0x1010n), memoryBytes: 32, fileOffset: 64, fileBytes: 16, ...flags },
  { start: address(0x2000n), memoryBytes: 64, fileOffset: 100, fileBytes: 64, ...flags },
]
const core: Core = { ...sampleCore('x86-64'), segments }
const file = fileOf(core, MEMORY_BYTES)
const source = sourceOf(file)
const read = (at: bigint, length: number): number[] => [...readCoreMemory(core, source, address(at), length)]

/** The slow twin: byte by byte. */
function byteAt(at: bigint): number | 'unmapped' | 'not-saved' {
  const segment = segments.find((s) => s.start <= at && at < s.start + BigInt(s.memoryBytes))
  if (segment === undefined) return 'unmapped'
  const into = Number(at - segment.start)
  return into < segment.fileBytes ? file[segment.fileOffset + into]! : 'not-saved'
}

test('memory is read from where its segment says, across segments too', () => {
  assert.deepEqual(read(0x1000n, 32), [...pattern(MEMORY_BYTES, 1).subarray(136, 152), ...pattern(MEMORY_BYTES, 1).subarray(0, 16)])
  assert.deepEqual(read(0x2010n, 4), [...pattern(MEMORY_BYTES, 1).subarray(52, 56)])
  assert.deepEqual(read(0x9999n, 0), [])
})

test('every read agrees with reading byte by byte, and errors name the first byte that is not there', () => {
  const places = fc.oneof(fc.bigInt({ min: 0xff0n, max: 0x1040n }), fc.bigInt({ min: 0x1ff0n, max: 0x2050n }))
  fc.assert(fc.property(places, fc.nat(80), (at, length) => {
    const expected = Array.from({ length }, (_, i) => byteAt(at + BigInt(i)))
    const missing = expected.findIndex((byte) => typeof byte === 'string')
    if (missing < 0) assert.deepEqual(read(at, length), expected)
    else assert.throws(() => read(at, length), { code: 'core-memory', reason: expected[missing], address: at + BigInt(missing) })
  }), { numRuns: 2000 })
})

test('memory the core does not have is an error, however much is asked for', () => {
  assert.throws(() => read(0x1020n, 1), (error) => error instanceof CoreMemoryError && /0x0000000000001020 is not in the core: its segment says nothing/.test(error.message))
  assert.throws(() => read(0n, 2 ** 52), CoreMemoryError)
  assert.throws(() => read(0x2000n, 2 ** 52), CoreMemoryError)
  assert.throws(() => readCoreMemory({ ...core, segments: [] }, source, address(0n), 1), CoreMemoryError)
})

test('memory that was cut off the file is a CoreFormatError, before anything is allocated', () => {
  const whole = { start: address(0x1000n), memoryBytes: 2 ** 50, fileOffset: 64, fileBytes: 2 ** 50, ...flags }
  assert.throws(() => readCoreMemory({ ...core, segments: [whole] }, source, address(0x1000n), 2 ** 50), CoreFormatError)
  const next = { ...whole, start: address(0x1000n + 2n ** 50n) }
  assert.throws(() => readCoreMemory({ ...core, segments: [whole, next] }, source, address(0x2000n), 2 ** 50), CoreFormatError)
})

test('segments at both ends of the address space are read', () => {
  const ends = [
    { start: address(0n), memoryBytes: 8, fileOffset: 64, fileBytes: 8, ...flags },
    { start: address(2n ** 64n - 8n), memoryBytes: 8, fileOffset: 72, fileBytes: 8, ...flags },
  ]
  assert.deepEqual([...readCoreMemory({ ...core, segments: ends }, source, address(2n ** 64n - 8n), 8)], [...pattern(16, 1).subarray(8)])
  assert.throws(() => readCoreMemory({ ...core, segments: ends }, source, address(2n ** 64n - 8n), 9), { reason: 'unmapped' })
})
