/** What the tests of the live view share: samples by hand, and any samples at all. */
import fc from 'fast-check'
import type { MappingSample, WatchSample } from '../index.ts'

export function mappingSample(facts: Partial<MappingSample> = {}): MappingSample {
  return {
    start: '0x00007f0000000000', end: '0x00007f0040000000', permissions: 'rw-p', path: '', residentPages: 1000, swappedPages: 0, writtenPages: 0,
    writtenPagesPerSecond: 0, workingSet: { in1sPages: 0, in10sPages: 0, in60sPages: 0 }, tracker: 'wp-async', blindSpots: [], ...facts,
  }
}

/** A server with a heap that it writes, a program text that it does not, and shared memory that others may write. */
export function watchSample(facts: Partial<WatchSample> = {}): WatchSample {
  return {
    pid: 4242, name: 'redis-server', pageBytes: 4096, atNs: 5_000_000_000, elapsedNs: 1e9, nextAfterNs: 1e9,
    residentPages: 262_144, swappedPages: 0, writtenPages: 5100, writtenPagesPerSecond: 5100,
    workingSet: { in1sPages: 5100, in10sPages: 30_000, in60sPages: 90_000 },
    mappings: [
      mappingSample({ start: '0x0000555555554000', end: '0x0000555555700000', permissions: 'r-xp', path: '/usr/bin/redis-check-rdb', residentPages: 428 }),
      mappingSample({
        start: '0x00007f1000000000', end: '0x00007f1040000000', path: '[heap]', residentPages: 260_000, writtenPages: 5000, writtenPagesPerSecond: 5000,
        workingSet: { in1sPages: 5000, in10sPages: 29_000, in60sPages: 88_000 },
      }),
      mappingSample({
        start: '0x00007f2000000000', end: '0x00007f2000100000', permissions: 'rw-s', path: '/dev/shm/jobs', residentPages: 256, writtenPages: 100, writtenPagesPerSecond: 100,
        workingSet: { in1sPages: 100, in10sPages: 200, in60sPages: 256 }, tracker: 'compare', blindSpots: [{ kind: 'shared-writers', why: 'other processes map it too' }],
      }),
    ],
    blindSpots: [], heat: [0, 0, 10, 400, 2000, 4096, 4096, 1], heatCellPages: 4096,
    cost: { toolCpuShare: 0.012, extraFaultsPerSecond: 5100, slowdownShare: 0.0051, stopNs: 0 },
    predicted: {
      precopy: { pauseNs: 1_900_000, totalNs: 900_000_000, extraMemoryBytes: 33_554_432, writtenBytes: 1_073_741_824, converges: true },
      stop: { pauseNs: 485_000_000, totalNs: 485_000_000, extraMemoryBytes: 0, writtenBytes: 1_073_741_824, converges: true },
    },
    ...facts,
  }
}

const count = fc.oneof(fc.nat(), fc.double({ noDefaultInfinity: false }), fc.constantFrom(0, 1, 1e15))
const address = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }).map((value) => `0x${value.toString(16).padStart(16, '0')}`)
/** What stands in names and paths is the target's choice: wide, combining, directed, escaping. */
const word = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 60 }), fc.string({ unit: 'binary', maxLength: 60 }),
  fc.constantFrom('', '\x1b[2J\x1b[31m', '/tmp/\u202egnp.exe', '日本語のファイル名/データ.db', '👩‍👩‍👧‍👦/🇩🇪', 'a\tb\r\nc', 'e\u0301'.repeat(40), '/very/long'.repeat(40)),
)
const workingSet = fc.record({ in1sPages: count, in10sPages: count, in60sPages: count })
const blindSpots = fc.array(fc.record({ kind: fc.constantFrom('shared-writers', 'pinned', 'untracked'), why: word }), { maxLength: 2 })
const strategy = fc.record({ pauseNs: count, totalNs: count, extraMemoryBytes: count, writtenBytes: count, converges: fc.boolean() })

const anyMapping = fc.record({
  start: address, end: address, permissions: fc.constantFrom('rw-p', 'r--s'), path: word, residentPages: count, swappedPages: count, writtenPages: count,
  writtenPagesPerSecond: count, workingSet, tracker: fc.constantFrom('wp-async', 'soft-dirty', 'none'), blindSpots,
}) as fc.Arbitrary<MappingSample>

/** Any sample of the process. */
export function anySample(pid: number): fc.Arbitrary<WatchSample> {
  return fc.record({
    pid: fc.constant(pid), name: word, pageBytes: fc.constantFrom(4096, 65536), atNs: count, elapsedNs: count, nextAfterNs: count, residentPages: count,
    swappedPages: count, writtenPages: count, writtenPagesPerSecond: count, workingSet, mappings: fc.array(anyMapping, { maxLength: 12 }), blindSpots,
    forkedPids: fc.array(fc.nat(), { maxLength: 6 }), heat: fc.array(count, { maxLength: 100 }), heatCellPages: count,
    cost: fc.record({ toolCpuShare: count, extraFaultsPerSecond: count, slowdownShare: count, stopNs: count }),
    predicted: fc.dictionary(fc.constantFrom('stop', 'fork', 'precopy'), strategy),
  }) as fc.Arbitrary<WatchSample>
}
