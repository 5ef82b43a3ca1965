// The marks beneath trackBuffer, where the kernel could be mistaken for somebody's word that all is clean.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { trackBuffer } from 'tidemark'
import { SharedMarks, type Sharer } from '#dist/buffers/shared-marks.js'
import { addressOfBytes, systemCall, viewMemory } from '#dist/linux/ffi.js'
import { WpAsyncMarks } from '#dist/buffers/wp-async.js'
import { openOwnMemory } from '#dist/linux/own-memory.js'
import { PagemapFile } from '#dist/linux/pagemap.js'
import { NR } from '#dist/linux/system-calls.js'
import { openUserfault } from '#dist/linux/userfault.js'
import { pageShift, type PageNumber } from '#dist/memory/address.js'
import type { PageRange } from '#dist/memory/page-range.js'
import { RegionList } from '#dist/memory/region-list.js'
import { BUFFER_KINDS, bytesIn, pageIn, pagesOf, PAGE_BYTES, registeredMappings, skipFollowing } from '../support/buffers.ts'
import { wasmMemory } from '../support/wasm.ts'

const skip = skipFollowing()
const O_CLOEXEC_USER_MODE_ONLY = 0o2000001

function rangeOf(bytes: Uint8Array): PageRange {
  const start = addressOfBytes(bytes) / PAGE_BYTES
  return { start: start as PageNumber, end: (start + bytes.length / PAGE_BYTES) as PageNumber }
}

/** Protects all pages for another userfaultfd, which then lets the mapping go in the one way that leaves the marks where they are. */
function leaveStaleMarks(range: PageRange): void {
  const shift = pageShift(PAGE_BYTES)
  using userfault = openUserfault(systemCall(NR.userfaultfd, O_CLOEXEC_USER_MODE_ONLY), shift, 'async') as Exclude<ReturnType<typeof openUserfault>, 'refused'>
  using pagemap = new PagemapFile('self', shift)
  assert.equal(userfault.register(range), 'registered')
  pagemap.scan(range, { all: 0, none: 0, any: 0, report: 0, protect: true, trackedOnly: false }, new RegionList(2048))
  assert.equal(userfault.dropTracking(range), 'dropped')
}

test('marks that another userfaultfd left behind hide no write', { skip }, () => {
  const memory = wasmMemory({ initial: 16, maximum: 16 })
  const bytes = new Uint8Array(memory.buffer).fill(1)
  leaveStaleMarks(rangeOf(bytes))
  bytes.fill(2) // Now the pages can be written, and still carry the marks.
  using tracked = trackBuffer(memory)
  tracked.mark()
  assert.equal(tracked.written().bytes, 0)
  bytes[5 * PAGE_BYTES] = 3
  assert.deepEqual([...pagesOf(tracked.written(), bytes)], [5])
})

test('memory that was given back and taken again between two looks counts as written', { skip }, () => {
  const { make, resize } = BUFFER_KINDS.find(({ name }) => name === 'resizable ArrayBuffer')!
  const buffer = make()
  resize!(buffer, 0.75) // 300,000 bytes
  bytesIn(buffer).fill(7)
  using tracked = trackBuffer(buffer)
  assert.equal(tracked.tracker, 'wp-async')
  const copy = new Uint8Array(300_000)
  tracked.copyWritten(copy)
  resize!(buffer, 0.05)
  resize!(buffer, 0.75)
  const bytes = bytesIn(buffer)
  const reported = pagesOf(tracked.written(), bytes)
  for (let page = pageIn(bytes, 20_000); page <= pageIn(bytes, 299_999); page++) assert.ok(reported.has(page), `page ${page}`)
  tracked.copyWritten(copy)
  assert.equal(Buffer.compare(copy, bytes), 0)
  bytes[200_000] = 9
  assert.deepEqual([...pagesOf(tracked.written(), bytes)], [pageIn(bytes, 200_000)], 'and is followed as before')
})

test('memory that is discarded, or replaced by other memory, under a buffer counts as written', { skip }, () => {
  const memory = wasmMemory({ initial: 64, maximum: 64 })
  const bytes = new Uint8Array(memory.buffer).fill(1)
  using tracked = trackBuffer(memory)
  tracked.mark()
  const [at, length] = [addressOfBytes(bytes) + 8 * PAGE_BYTES, 4 * PAGE_BYTES]
  const MADV_DONTNEED = 4
  assert.equal(systemCall(NR.madvise, at, length, MADV_DONTNEED), 0)
  assert.deepEqual([...pagesOf(tracked.written(), bytes)], [8, 9, 10, 11])
  tracked.mark()
  const [PROT_READ_WRITE, MAP_PRIVATE_FIXED_ANONYMOUS] = [3, 0x32]
  assert.equal(systemCall(NR.mmap, at, length, PROT_READ_WRITE, MAP_PRIVATE_FIXED_ANONYMOUS, -1, 0), at)
  assert.deepEqual([...pagesOf(tracked.written(), bytes)], [8, 9, 10, 11])
  tracked.mark()
  bytes[9 * PAGE_BYTES] = 1
  assert.deepEqual([...pagesOf(tracked.written(), bytes)], [9], 'and is followed from then on')
})

test('huge pages are reported by the small page that was written', { skip }, () => {
  const memory = wasmMemory({ initial: 128, maximum: 128 })
  const bytes = new Uint8Array(memory.buffer)
  const MADV_HUGEPAGE = 14
  systemCall(NR.madvise, addressOfBytes(bytes), bytes.length, MADV_HUGEPAGE)
  bytes.fill(1)
  using tracked = trackBuffer(memory)
  for (let round = 0; round < 3; round++) {
    tracked.mark()
    const pages = [3 + round, 700, 1500 + round]
    for (const page of pages) bytes[page * PAGE_BYTES] = round
    assert.deepEqual([...pagesOf(tracked.written(), bytes)], pages)
  }
})

test('a tracker that ends lets go of its pages while others go on', { skip }, () => {
  using kept = trackBuffer(wasmMemory({ initial: 16, maximum: 16 }))
  const registered = registeredMappings()
  for (let i = 0; i < 5; i++) {
    using tracked = trackBuffer(wasmMemory({ initial: 16, maximum: 16 }))
    tracked.mark()
    assert.equal(registeredMappings(), registered + 1)
  }
  assert.equal(registeredMappings(), registered)
  assert.equal(kept.tracker, 'wp-async')
})

test('when taking what was written fails in the middle, all who share it take everything for written', { skip }, () => {
  const bytes = new Uint8Array(wasmMemory({ initial: 16, maximum: 16 }).buffer)
  const shared = new SharedMarks(openOwnMemory())
  const lost: string[] = []
  const sharer = (name: string): Sharer => ({ range: rangeOf(bytes), addWritten: () => {}, loseMarks: () => void lost.push(name) })
  const [first, second] = [sharer('first'), sharer('second')]
  assert.equal(shared.join(first), undefined)
  assert.equal(shared.join(second), undefined)
  bytes[0] = 1
  assert.throws(() => shared.take(first, () => { throw new RangeError('no memory') }), RangeError)
  assert.deepEqual(lost, ['first', 'second'])
  shared.leave(first)
  shared.leave(second)
})

test('memory shared with other processes is compared', { skip }, () => {
  const [PROT_READ_WRITE, MAP_SHARED_ANONYMOUS] = [3, 0x21]
  const address = systemCall(NR.mmap, 0, 1 << 20, PROT_READ_WRITE, MAP_SHARED_ANONYMOUS, -1, 0)
  const buffer = viewMemory(address, 1 << 20)
  using tracked = trackBuffer(buffer)
  assert.equal(tracked.tracker, 'compare')
  assert.match(tracked.compareReason ?? '', /shared with other processes/)
  tracked.mark()
  new Uint8Array(buffer)[70_000] = 1
  assert.equal(tracked.written().bytes, PAGE_BYTES)
})

test('a memory whose new part somebody else has is compared from then on, all of it written; or that is an error where it was not wanted', { skip }, () => {
  const memory = wasmMemory({ initial: 4, maximum: 16 })
  using tracked = trackBuffer(memory)
  using strict = trackBuffer(memory, { tracker: 'wp-async' })
  tracked.mark()
  strict.mark()
  const { end: start } = rangeOf(new Uint8Array(memory.buffer))
  memory.grow(4)
  const { end } = rangeOf(new Uint8Array(memory.buffer))
  using other = openUserfault(systemCall(NR.userfaultfd, O_CLOEXEC_USER_MODE_ONLY), pageShift(PAGE_BYTES), 'async') as Exclude<ReturnType<typeof openUserfault>, 'refused'>
  assert.equal(other.register({ start, end }), 'registered')
  assert.equal(tracked.written().bytes, memory.buffer.byteLength)
  assert.equal(tracked.tracker, 'compare')
  assert.match(tracked.compareReason ?? '', /another userfaultfd/)
  const copy = new Uint8Array(memory.buffer.byteLength)
  tracked.copyWritten(copy)
  new Uint8Array(memory.buffer)[300_000] = 1
  assert.deepEqual([...pagesOf(tracked.written(), new Uint8Array(memory.buffer))], [Math.floor(300_000 / PAGE_BYTES)])
  for (let i = 0; i < 2; i++) assert.throws(() => strict.written(), { code: 'unsupported', message: /cannot be followed any more: another userfaultfd/ })
})

test('a buffer whose memory moved counts as written, and the old place is let go', { skip }, () => {
  const [before, after] = [1, 2].map(() => new Uint8Array(wasmMemory({ initial: 16, maximum: 16 }).buffer)) as [Uint8Array, Uint8Array]
  const memory = openOwnMemory()
  const marks = WpAsyncMarks.create(memory, new SharedMarks(memory), before) as WpAsyncMarks
  const registered = registeredMappings()
  marks.mark()
  assert.equal(marks.follow(after), undefined)
  assert.equal(marks.written().bytes, after.length)
  assert.equal(registeredMappings(), registered)
  marks.mark()
  before[0] = 1
  after[9 * PAGE_BYTES] = 1
  assert.deepEqual([...pagesOf(marks.written(), after)], [9])
  marks[Symbol.dispose]()
  assert.equal(registeredMappings(), registered - 1)
})

test('a limit on open files makes it compare, and leaves none open', { skip }, () => {
  const script = `
    import { openSync, readdirSync, closeSync } from 'node:fs'
    import { trackBuffer } from 'tidemark'
    trackBuffer(new ArrayBuffer(1 << 20)).end()
    const count = () => readdirSync('/proc/self/fd').length
    const before = count(), files = []
    try { for (;;) files.push(openSync('/dev/null', 'r')) } catch (error) { if (error.code !== 'EMFILE') throw error }
    for (let spare = 0; spare < 3; spare++) {
      const tracked = trackBuffer(new ArrayBuffer(1 << 20))
      console.log(tracked.tracker, /EMFILE/.test(tracked.compareReason))
      tracked.end()
      closeSync(files.pop())
    }
    const tracked = trackBuffer(new ArrayBuffer(1 << 20))
    console.log(tracked.tracker)
    tracked.end()
    for (const file of files) closeSync(file)
    console.log(count() - before)`
  const run = spawnSync('sh', ['-c', 'ulimit -n 64; exec "$0" --input-type=module -e "$1"', process.execPath, script], { encoding: 'utf8', cwd: import.meta.dirname })
  assert.equal(run.stderr, '')
  assert.equal(run.stdout, 'compare true\ncompare true\ncompare true\nwp-async\n0\n')
})
