// What trackBuffer reports of every kind of buffer, however it is written, against what was really written.
import assert from 'node:assert/strict'
import { closeSync, openSync, readSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { trackBuffer, type GrowingMemory, type TrackableBuffer, type TrackedBuffer } from 'tidemark'
import { BUFFER_KINDS, bytesIn, lengthOf, ownPages, pageIn, pagesOf, type BufferKind } from '../support/buffers.ts'
import { Scratch } from '../support/cli.ts'
import { seededRandom } from '../support/random.ts'
import { wasmMemory, wasmStore } from '../support/wasm.ts'

const WRITERS = ['array', 'data-view', 'atomics', 'read', 'wasm', 'fill', 'copy-within', 'same-value'] as const

type Step =
  | { readonly kind: 'write'; readonly by: typeof WRITERS[number]; readonly at: number; readonly length: number }
  | { readonly kind: 'mark' | 'look' | 'copy'; readonly tracker: number }
  | { readonly kind: 'resize'; readonly share: number }

const share = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('write' as const), by: fc.constantFrom(...WRITERS), at: share, length: fc.integer({ min: 1, max: 9000 }) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom('mark' as const, 'look' as const, 'copy' as const), tracker: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('resize' as const), share }) },
)

/** A buffer that is written, and for each tracker of it the truth: which pages were written since its mark. */
class Written {
  readonly buffer: TrackableBuffer
  readonly #kind: BufferKind
  readonly #store: ((at: number, value: number) => void) | undefined
  readonly truths: Set<number>[] = []

  constructor(kind: BufferKind) {
    this.#kind = kind
    this.buffer = kind.make()
    if (kind.name === 'WebAssembly.Memory') this.#store = wasmStore(this.buffer as GrowingMemory)
  }

  get bytes(): Uint8Array {
    return bytesIn(this.buffer)
  }

  write({ by, at: share, length: wanted }: Step & { kind: 'write' }, file: number): void {
    const { bytes } = this
    if (bytes.length < 8) return
    const at = Math.floor(share * (bytes.length - 7))
    const length = Math.min(wanted, bytes.length - at)
    this.#touch(at, this.#perform(by, at, length, file))
  }

  /** Returns how many bytes it wrote. */
  #perform(by: typeof WRITERS[number], at: number, length: number, file: number): number {
    const { bytes } = this
    switch (by) {
      case 'array': bytes[at] = bytes[at]! + 1; return 1
      case 'data-view': new DataView(bytes.buffer).setFloat64(at, at + 0.5); return 8
      case 'atomics': Atomics.add(bytes, at, 1); return 1
      case 'read': return readSync(file, bytes, at, length, 0)
      case 'wasm': (this.#store ?? ((index, value) => { bytes[index] = value }))(at, bytes[at]! + 1); return 1
      case 'fill': bytes.fill(bytes[at]! + 1, at, at + length); return length
      case 'copy-within': bytes.copyWithin(at, 0, length); return at === 0 ? 0 : length // memmove(3) onto itself writes nothing.
      case 'same-value': bytes[at] = bytes[at]!; return 1
    }
  }

  #touch(at: number, length: number): void {
    if (length === 0) return
    const { bytes } = this
    for (let page = pageIn(bytes, at); page <= pageIn(bytes, at + length - 1); page++) for (const truth of this.truths) truth.add(page)
  }

  resize(share: number): void {
    const before = this.bytes.length
    this.#kind.resize?.(this.buffer, share)
    const { length } = this.bytes
    for (const truth of this.truths) for (const page of truth) if (length === 0 || page > pageIn(this.bytes, length - 1)) truth.delete(page)
    this.#touch(before, Math.max(0, length - before))
  }
}

/** A tracker, the copy it keeps, and whether it has had a mark. */
interface Follower {
  readonly tracked: TrackedBuffer
  copy: Uint8Array
}

function checkReported(written: Written, follower: Follower, truth: ReadonlySet<number>, over: { pages: number; truth: number }): void {
  const reported = pagesOf(follower.tracked.written(), written.bytes)
  if (follower.tracked.tracker === 'wp-async') {
    assert.deepEqual([...truth].filter((page) => !reported.has(page)), [], 'what was written is reported')
    over.pages += reported.size - truth.size
    over.truth += truth.size
  }
  assert.deepEqual(ownReported(written, follower), ownPages(reported, written.bytes), 'looking changes nothing')
}

function ownReported({ bytes }: Written, { tracked }: Follower): number[] {
  return ownPages(pagesOf(tracked.written(), bytes), bytes)
}

function checkCopied(written: Written, follower: Follower): void {
  const { bytes } = written
  if (follower.copy.length !== bytes.length) {
    const copy = new Uint8Array(bytes.length)
    copy.set(follower.copy.subarray(0, bytes.length))
    follower.copy = copy
  }
  const reported = ownReported(written, follower)
  const ranges = follower.tracked.copyWritten(follower.copy)
  assert.deepEqual(ownPages(pagesOf(ranges, bytes), bytes), reported)
  assert.equal(ranges.bytes, [...ranges].reduce((sum, { start, end }) => sum + end - start, 0))
  assert.equal(Buffer.compare(follower.copy, bytes), 0, 'the copy is the buffer')
}

function play(kind: BufferKind, trackers: readonly ('auto' | 'compare')[], steps: readonly Step[], file: number, over: { pages: number; truth: number }): void {
  const written = new Written(kind)
  const followers = trackers.map((tracker): Follower => ({ tracked: trackBuffer(written.buffer, { tracker }), copy: new Uint8Array(0) }))
  for (const { tracked } of followers) {
    assert.equal(tracked.written().bytes, lengthOf(written.buffer), 'before the first mark all counts as written')
    tracked.mark()
    written.truths.push(new Set())
  }
  for (const follower of followers) follower.copy = written.bytes.slice()
  for (const step of steps) {
    if (step.kind === 'write') written.write(step, file)
    else if (step.kind === 'resize') written.resize(step.share)
    else {
      const follower = followers[step.tracker]!
      if (step.kind === 'look') checkReported(written, follower, written.truths[step.tracker]!, over)
      else {
        if (step.kind === 'mark') {
          follower.tracked.mark()
          follower.copy = written.bytes.slice()
        } else checkCopied(written, follower)
        assert.deepEqual(ownReported(written, follower), [], 'after a mark nothing is written')
        written.truths[step.tracker]!.clear()
      }
    }
  }
  for (const [i, follower] of followers.entries()) {
    checkReported(written, follower, written.truths[i]!, over)
    checkCopied(written, follower)
    follower.tracked.end()
  }
}

for (const kind of BUFFER_KINDS) {
  for (const trackers of [['auto', 'auto'], ['auto', 'compare']] as const) {
    test(`${kind.name}: two trackers (${trackers.join(', ')}) report every page written since their own marks, and their copies are the buffer`, (t) => {
      using scratch = new Scratch()
      const { seed } = seededRandom(t)
      writeFileSync(scratch.file('data'), Uint8Array.from({ length: 9000 }, (_, i) => i * 7 + seed))
      const file = openSync(scratch.file('data'), 'r')
      const over = { pages: 0, truth: 0 }
      fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => play(kind, trackers, steps, file, over)), { seed, numRuns: 40 })
      closeSync(file)
      t.diagnostic(`${over.pages} pages too many for ${over.truth} written`)
    })
  }
}

test('memory that begins with a page is reported to the page', (t) => {
  const random = seededRandom(t)
  const memory = wasmMemory({ initial: 256, maximum: 256 })
  const bytes = new Uint8Array(memory.buffer)
  using tracked = trackBuffer(memory)
  assert.equal(tracked.tracker, 'wp-async')
  for (let round = 0; round < 50; round++) {
    tracked.mark()
    const truth = new Set<number>()
    for (let i = random.between(0, 200); i > 0; i--) {
      const at = random.between(0, bytes.length - 1)
      bytes[at] = i
      truth.add(pageIn(bytes, at))
    }
    assert.deepEqual([...pagesOf(tracked.written(), bytes)], [...truth].toSorted((a, b) => a - b))
  }
})
