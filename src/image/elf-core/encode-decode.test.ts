import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { address } from '../../memory/address.ts'
import type { Core } from './core.ts'
import { cores, fileOf, pattern, sampleCore, sampleThread, sourceOf } from './core-samples.test.ts'
import { decodeCore } from './decode.ts'
import { encodeCore } from './encode.ts'

test('decoding gives back any core that was encoded, wherever the tail is', () => {
  fc.assert(fc.property(cores, ({ core, tailOffset }) => {
    const file = fileOf(core, tailOffset - 64)
    assert.deepEqual(decodeCore(sourceOf(file)), core)
    assert.equal(new DataView(file.buffer).getUint32(32, true) % 8, 0, 'readers that map the file want program headers aligned')
  }), { numRuns: 500 })
})

test('what decoding gives does not change when the source reuses its buffer', () => {
  const file = fileOf(sampleCore('x86-64'), 96)
  const buffer = new Uint8Array(file.length)
  const core = decodeCore({ bytes: file.length, read: (offset, length) => {
    buffer.set(file.subarray(offset, offset + length))
    return buffer.subarray(0, length)
  } })
  buffer.fill(0xee)
  assert.deepEqual(core, sampleCore('x86-64'))
})

for (const machine of ['x86-64', 'arm64'] as const) {
  test(`the bytes of a fixed ${machine} core do not change`, () => {
    // From dist/image/elf-core/ and from src/image/elf-core/ alike. A new golden file is a change of the format.
    const golden = new URL(`../../../src/image/elf-core/golden/${machine}.hex`, import.meta.url)
    const lines = Buffer.from(fileOf(sampleCore(machine), 96)).toString('hex').replace(/.{1,64}/g, '$&\n')
    if (process.env['TIDEMARK_WRITE_GOLDEN'] === '1') writeFileSync(golden, lines)
    assert.equal(lines, readFileSync(golden, 'latin1'))
    assert.deepEqual(decodeCore(sourceOf(Buffer.from(lines.replaceAll('\n', ''), 'hex'))), sampleCore(machine))
  })
}

function withSegments(count: number): Core {
  const segments = Array.from({ length: count }, (_, i) => ({
    start: address(0x1000_0000n + BigInt(i) * 0x2000n), memoryBytes: 4096, fileOffset: 64, fileBytes: 16,
    readable: true, writable: i % 2 === 0, executable: false,
  }))
  return { ...sampleCore('x86-64'), segments }
}

test('e_phnum holds up to 65,534 program headers, then the section header does', () => {
  for (const [segments, phnum, shnum] of [[65_533, 65_534, 0], [65_534, 0xffff, 1], [65_535, 0xffff, 1]] as const) {
    const file = fileOf(withSegments(segments), 16)
    const header = new DataView(file.buffer)
    assert.deepEqual([header.getUint16(56, true), header.getUint16(60, true)], [phnum, shnum])
    assert.equal(decodeCore(sourceOf(file)).segments.length, segments)
  }
})

test('a core of 70,000 segments reads back, and readelf reads all of them', (t) => {
  const core = withSegments(70_000)
  const file = fileOf(core, 16)
  assert.deepEqual(decodeCore(sourceOf(file)), core)
  if (spawnSync('readelf', ['--version']).error !== undefined) return t.skip('readelf (binutils) is not installed')
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-core-'))
  try {
    writeFileSync(join(directory, 'core'), file)
    const run = spawnSync('readelf', ['-lW', join(directory, 'core')], { encoding: 'utf8', maxBuffer: 2 ** 26 })
    assert.equal(run.stderr, '')
    assert.equal(run.stdout.match(/^ {2}LOAD /gm)?.length, 70_000)
    assert.match(run.stdout, /There are 70001 program headers/)
    const last = (0x1000_0000 + 69_999 * 0x2000).toString(16).padStart(16, '0')
    assert.ok(run.stdout.includes(`0x${last} 0x0000000000000000 0x000010 0x001000 R   0x1000`))
  } finally {
    rmSync(directory, { recursive: true })
  }
})

test('names are cut as the kernel cuts them, and NULs between arguments become spaces', () => {
  const core = sampleCore('x86-64')
  const process = { ...core.process, name: 'ein-sehr-langer-name', arguments: `cat\0${'ä'.repeat(60)}\0` }
  const read = decodeCore(sourceOf(fileOf({ ...core, process }, 96))).process
  assert.equal(read.name, 'ein-sehr-langer')
  assert.equal(read.arguments, `cat ${'ä'.repeat(37)}\udcc3`)
})

test('a note that belongs to no thread or to another program is left out', () => {
  const core = sampleCore('x86-64')
  const thread = sampleThread('x86-64', 7)
  const strange = [{ note: 0x205, owner: 'LINUX', bytes: pattern(8, 0) }, { note: 0x4711, owner: 'CORE', bytes: pattern(7, 0) }] as const
  const read = decodeCore(sourceOf(fileOf({ ...core, threads: [{ ...thread, sets: [...strange, ...thread.sets] }] }, 96)))
  assert.deepEqual(read.threads, [thread])
})

test('what the format cannot hold is refused, not cut', () => {
  const core = sampleCore('x86-64')
  const [thread, segment] = [core.threads[0]!, core.segments[1]!]
  const wrong: readonly [RegExp, Partial<Core>, number?][] = [
    [/needs a thread/, { threads: [] }],
    [/registers of thread 4243 have 272 bytes/, { threads: [{ ...thread, registers: pattern(272, 0) }] }],
    [/siginfo of thread 4243 has 4 bytes/, { threads: [{ ...thread, siginfo: pattern(4, 0) }] }],
    [/pending signals of thread/, { threads: [{ ...thread, pendingSignals: 1n << 64n }] }],
    [/nice is 300/, { process: { ...core.process, nice: 300 } }],
    [/path has a NUL/, { files: [{ ...core.files[0]!, path: 'a\0b' }] }],
    [/page size is 5000/, { pageBytes: 5000 }],
    [/begins before the one in front/, { segments: [segment, segment] }],
    [/begins before the one in front/, { segments: [segment, core.segments[0]!] }],
    [/size of the segment at 0x1000000000 is 0/, { segments: [{ ...segment, memoryBytes: 0, fileBytes: 0 }] }],
    [/size in the file of the segment/, { segments: [{ ...segment, fileBytes: 65 }] }],
    [/not between header and tail/, { segments: [{ ...segment, fileOffset: 97 }] }],
    [/not between header and tail/, { segments: [{ ...segment, fileOffset: 63 }] }],
    [/ends past the address space/, { segments: [{ ...segment, start: address(2n ** 64n - 63n) }] }],
    [/offset of the tail is 63/, { segments: [] }, 63],
  ]
  for (const [message, change, tailOffset] of wrong) {
    assert.throws(() => encodeCore({ ...core, ...change }, tailOffset ?? 160), (error) => error instanceof RangeError && message.test(error.message), String(message))
  }
})
