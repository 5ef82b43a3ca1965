/** Writes a WebAssembly.Memory at random and keeps a copy by what is reported, checking it, until standard input ends. */
import assert from 'node:assert/strict'
import { trackBuffer } from 'tidemark'
import { pageIn, pagesOf } from './buffers.ts'
import { seededRandom } from './random.ts'
import { sleep } from './cli.ts'
import { wasmMemory } from './wasm.ts'

process.env['TIDEMARK_SEED'] = process.argv[2]
const random = seededRandom({ diagnostic: () => {} })
const memory = wasmMemory({ initial: 512, maximum: 512 })
const bytes = new Uint8Array(memory.buffer)
const copy = new Uint8Array(bytes.length)
using tracked = trackBuffer(memory)
assert.equal(tracked.tracker, 'wp-async')
tracked.copyWritten(copy)
let going = true
process.stdin.on('end', () => { going = false }).resume()
console.log('ready')
let rounds = 0
while (going) {
  for (let i = 0; i < 100; i++) bytes[random.between(0, bytes.length - 1)]! += 1
  tracked.copyWritten(copy)
  assert.equal(Buffer.compare(copy, bytes), 0, `round ${rounds}`)
  rounds++
  await sleep(1)
}
bytes[12345]! += 1
assert.deepEqual([...pagesOf(tracked.written(), bytes)], [pageIn(bytes, 12345)], 'it ends up as exact as before')
console.log(`${rounds} rounds`)
