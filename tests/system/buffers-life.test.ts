// How tracking of a buffer begins and ends, beside workers, collection, children and snapshots of the process itself.
import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { dump, isTidemarkError, trackBuffer, type TrackedBuffer } from 'tidemark'
import { openFiles, pageIn, pagesOf, PAGE_BYTES, registeredMappings, skipFollowing } from '../support/buffers.ts'
import { Scratch, sleep } from '../support/cli.ts'
import { skipTargets } from '../support/fixtures.ts'
import { seededRandom } from '../support/random.ts'
import { wasmMemory } from '../support/wasm.ts'

const skip = skipFollowing()
const MIB = 1 << 20

function failsWith(message: RegExp, hint?: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(isTidemarkError(error), String(error))
    assert.equal(error.code, 'usage')
    assert.match(error.message, message)
    if (hint !== undefined) assert.match(error.hint ?? '', hint)
    return true
  }
}

// So large that most pages are not written again after a write was lost, which would make up for it.
for (const [tracker, mib, rounds] of [['auto', 64, 30], ['compare', 64, 12]] as const) {
  test(`two workers write while it is copied (${tracker}): no write is lost`, async (t) => {
    const { seed } = seededRandom(t)
    const buffer = new SharedArrayBuffer(mib * MIB)
    const control = new Int32Array(new SharedArrayBuffer(8))
    const copy = new Uint8Array(buffer.byteLength)
    using tracked = trackBuffer(buffer, { tracker })
    const url = new URL('../support/buffer-writer.js', import.meta.url)
    const workers = [1, 2].map((n) => new Worker(url, { workerData: { buffer, control, seed: seed + n } }))
    while (Atomics.load(control, 1) < 1000) await sleep(1)
    let copied = 0
    for (let i = 0; i < rounds; i++) {
      copied += tracked.copyWritten(copy).bytes
    }
    Atomics.store(control, 0, 1)
    await Promise.all(workers.map((worker) => once(worker, 'exit')))
    tracked.copyWritten(copy)
    assert.equal(Buffer.compare(copy, new Uint8Array(buffer)), 0)
    assert.equal(tracked.written().bytes, 0)
    t.diagnostic(`${Atomics.load(control, 1)} writes, ${Math.round(copied / MIB)} MiB copied`)
  })
}

/** Runs a script that can call gc(). */
function collecting(script: string) {
  const imports = `
    import { openFiles, pageIn, pagesOf, registeredMappings } from '${new URL('../support/buffers.js', import.meta.url).href}'
    import { trackBuffer } from 'tidemark'`
  return spawnSync(process.execPath, ['--expose-gc', '--input-type=module', '-e', `${imports}\n${script}`], { encoding: 'utf8', cwd: import.meta.dirname })
}

test('buffers that are collected leave no registration and no open file behind', { skip }, () => {
  const run = collecting(`
    const settle = async () => { for (let i = 0; i < 5; i++) { gc(); await new Promise((resolve) => setTimeout(resolve, 20)) } }
    const round = () => { for (let i = 0; i < 30; i++) { const t = trackBuffer(new ArrayBuffer(i % 2 ? 100_000 : 1 << 20)); t.mark(); if (i === 1 && t.tracker !== 'wp-async') throw new Error(t.tracker) } }
    round()
    await settle()
    const [files, registered] = [openFiles(), registeredMappings()]
    for (let i = 0; i < 10; i++) { round(); await settle() }
    const kept = trackBuffer(new ArrayBuffer(1 << 20))
    const during = registeredMappings()
    kept.end()
    console.log(JSON.stringify([registered, openFiles() - files, registeredMappings(), during > 0]))`)
  assert.equal(run.stderr, '')
  assert.equal(run.stdout, '[0,0,0,true]\n')
})

test('ending twice is ending once, and what comes after says so', () => {
  const [files, registered] = [openFiles(), registeredMappings()]
  let outside: TrackedBuffer
  {
    using tracked = trackBuffer(new SharedArrayBuffer(MIB))
    tracked.mark()
    outside = tracked
  }
  outside.end()
  outside[Symbol.dispose]()
  for (const call of [() => outside.mark(), () => outside.written(), () => outside.copyWritten(new Uint8Array(MIB))]) assert.throws(call, failsWith(/has ended/))
  assert.deepEqual([openFiles(), registeredMappings()], [files, registered])
})

test('of two trackers each has its own marks, and the one that ends leaves the other its own', () => {
  const buffer = new ArrayBuffer(MIB)
  const bytes = new Uint8Array(buffer)
  const first = trackBuffer(buffer)
  first.mark()
  using second = trackBuffer(buffer)
  assert.equal(second.written().bytes, MIB, 'before its own first mark all counts as written')
  second.mark()
  bytes[300_000] = 1
  first.end()
  bytes[600_000] = 1
  const pages = pagesOf(second.written(), bytes)
  for (const at of [300_000, 600_000]) assert.ok(pages.has(pageIn(bytes, at)))
  assert.ok(pages.size <= 4, 'two, and those at the ends')
})

test('a transferred buffer is refused, and its registration is gone', () => {
  const registered = registeredMappings()
  const buffer = new ArrayBuffer(MIB)
  const tracked = trackBuffer(buffer)
  const moved = structuredClone(buffer, { transfer: [buffer] })
  for (let i = 0; i < 2; i++) assert.throws(() => tracked.written(), failsWith(/detached/, /track the buffer that it became/))
  assert.equal(registeredMappings(), registered)
  assert.throws(() => trackBuffer(buffer), failsWith(/detached/))
  using again = trackBuffer(moved)
  again.mark()
  new Uint8Array(moved)[500_000] = 1
  assert.ok(pagesOf(again.written(), new Uint8Array(moved)).has(pageIn(new Uint8Array(moved), 500_000)))
})

test('the buffer of a memory that has grown is refused with advice, the memory itself is followed', () => {
  const memory = wasmMemory({ initial: 4, maximum: 16 })
  using ofBuffer = trackBuffer(memory.buffer)
  using ofMemory = trackBuffer(memory)
  ofMemory.mark()
  memory.grow(2)
  assert.throws(() => ofBuffer.written(), failsWith(/detached/, /track the Memory itself/))
  assert.deepEqual([...ofMemory.written()], [{ start: 4 * 65536, end: 6 * 65536 }])
})

test('what cannot be tracked or copied into gets one clear line', () => {
  assert.throws(() => trackBuffer(new Uint8Array(10) as never), failsWith(/not a Uint8Array/, /pass its \.buffer/))
  for (const value of [undefined, 7, {}, { buffer: new ArrayBuffer(8), grow() {} }]) assert.throws(() => trackBuffer(value as never), failsWith(/can be tracked, not/))
  assert.throws(() => trackBuffer(new ArrayBuffer(8), { tracker: 'soft-dirty' as never }), failsWith(/no tracker soft-dirty/))
  const buffer = new ArrayBuffer(MIB)
  using tracked = trackBuffer(buffer)
  tracked.mark()
  new Uint8Array(buffer)[MIB / 2] = 1
  assert.throws(() => tracked.copyWritten(new Uint8Array(5)), failsWith(/has 5 bytes and the buffer 1048576/))
  assert.throws(() => tracked.copyWritten(buffer), failsWith(/the buffer itself/))
  assert.throws(() => tracked.copyWritten([] as never), failsWith(/goes into/))
  assert.ok(tracked.written().bytes >= PAGE_BYTES, 'and the marks are as before')
})

test('a small or empty buffer is compared, to the byte range of its pages', () => {
  const buffer = new ArrayBuffer(5000)
  using tracked = trackBuffer(buffer)
  assert.equal(tracked.tracker, 'compare')
  assert.match(tracked.compareReason ?? '', /less than \d+ bytes/)
  tracked.mark()
  new Uint8Array(buffer)[4999] = 1
  assert.deepEqual([...tracked.written()], [{ start: Math.floor(4999 / PAGE_BYTES) * PAGE_BYTES, end: 5000 }])
  using empty = trackBuffer(new ArrayBuffer(0))
  assert.equal(empty.written().length, 0)
  assert.equal(empty.copyWritten(new ArrayBuffer(0)).bytes, 0)
})

test('children inherit nothing, and their birth hides no write', { skip }, () => {
  const buffer = new ArrayBuffer(MIB)
  const bytes = new Uint8Array(buffer)
  using tracked = trackBuffer(buffer)
  for (let i = 0; i < 20; i++) {
    tracked.mark()
    bytes[300_000] = i
    assert.doesNotMatch(execFileSync('sh', ['-c', 'ls -l /proc/self/fd'], { encoding: 'utf8' }), /userfaultfd|pagemap/)
    bytes[600_000] = i
    const pages = pagesOf(tracked.written(), bytes)
    for (const at of [300_000, 600_000]) assert.ok(pages.has(pageIn(bytes, at)))
    assert.ok(pages.size <= 4, 'two, and those at the ends')
  }
})

test('memory that is freed and mapped again at the same address, its tracker still there, is not taken for tracked', { skip }, () => {
  const { stdout, stderr } = collecting(`
    const { addressOfBytes } = await import('#dist/linux/ffi.js')
    const seen = new Set(), trackers = []
    let again = 0
    for (let i = 0; i < 20; i++) {
      let buffer = new ArrayBuffer(64 << 20)
      const bytes = new Uint8Array(buffer), address = addressOfBytes(bytes)
      if (seen.has(address)) again++
      seen.add(address)
      const tracked = trackBuffer(buffer)
      trackers.push(tracked)
      if (tracked.written().bytes !== bytes.length) throw new Error('a new buffer counts as written')
      tracked.mark()
      for (const at of [5_000_000, 50_000_000]) bytes[at] = 1
      const pages = pagesOf(tracked.written(), bytes)
      if (!pages.has(pageIn(bytes, 5_000_000)) || !pages.has(pageIn(bytes, 50_000_000)) || pages.size > 4) throw new Error('wrong: ' + pages.size)
      structuredClone(buffer, { transfer: [buffer] })
      gc()
    }
    if (again === 0) throw new Error('no address came again')
    for (const tracked of trackers) tracked.end()
    console.log(registeredMappings())`)
  assert.equal(stderr, '')
  assert.equal(stdout, '0\n')
})

test('another thread that tracks the same buffer compares, and takes no marks away', { skip }, async () => {
  const buffer = new SharedArrayBuffer(MIB)
  using tracked = trackBuffer(buffer)
  tracked.mark()
  const worker = new Worker(new URL('../support/buffer-tracker.js', import.meta.url), { workerData: buffer })
  await once(worker, 'message')
  new Uint8Array(buffer)[MIB / 2] = 1
  worker.postMessage('tell')
  const [answer] = await once(worker, 'message') as [{ tracker: string; why: string; bytes: number }]
  assert.equal(answer.tracker, 'compare')
  assert.match(answer.why, /another userfaultfd/)
  assert.equal(answer.bytes, PAGE_BYTES)
  assert.ok(tracked.written().bytes >= PAGE_BYTES)
  await worker.terminate()
})

test('a terminated worker leaves no registration and no open file behind', { skip }, async () => {
  const start = async (): Promise<Worker> => {
    const worker = new Worker(new URL('../support/buffer-tracker.js', import.meta.url), { workerData: new SharedArrayBuffer(4 * MIB) })
    await once(worker, 'message')
    return worker
  }
  await (await start()).terminate() // What Node opens once for all is open then.
  const before = [openFiles(), registeredMappings()]
  for (let i = 0; i < 5; i++) {
    const worker = await start()
    assert.ok(registeredMappings() > before[1]!)
    await worker.terminate()
  }
  assert.deepEqual([openFiles(), registeredMappings()], before)
})

test('a snapshot of a process that tracks takes no marks away', { skip: skip || skipTargets }, async (t) => {
  using scratch = new Scratch()
  const { seed } = seededRandom(t)
  const child = spawn(process.execPath, [join(import.meta.dirname, '../support/buffer-program.js'), String(seed)], { stdio: ['pipe', 'pipe', 'inherit'] })
  try {
    await once(child.stdout, 'data')
    for (const strategy of ['precopy', 'fork', 'precopy'] as const) await dump(child.pid!, { output: scratch.file('x.core'), strategy, replace: true })
    const rest = text(child.stdout)
    child.stdin.end()
    const [code] = await once(child, 'exit') as [number | null]
    t.diagnostic((await rest).trim())
    assert.equal(code, 0)
  } finally {
    child.kill('SIGKILL')
  }
})
