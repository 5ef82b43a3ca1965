/**
 * `npm run example`: SQLite in WebAssembly, with 256 MiB of memory, all of which is saved after each transaction, to a copy in
 * memory and to a file, by writing only what the transaction changed. Fails when either is not the memory, byte for byte.
 */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sqlite from '@sqlite.org/sqlite-wasm'
import xxhash from 'xxhash-wasm'
import { trackBuffer, type GrowingMemory } from 'tidemark'

const MEMORY_MIB = 256
const TRANSACTIONS = Number(process.argv[2] ?? 30)
const PAGE_BYTES = 4096

interface Saved {
  readonly bytes: number
  readonly saveMs: number
  readonly copyAllMs: number
  readonly hashAllMs: number
}

const { oo1, wasm } = await sqlite()
const { memory } = wasm as unknown as { readonly memory: GrowingMemory } // There, but not in its types.
const { h64Raw } = await xxhash()
const folder = mkdtempSync(join(tmpdir(), 'tidemark-example-'))
const file = openSync(join(folder, 'memory'), 'w')

const database = new oo1.DB(':memory:')
database.exec('CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER, note BLOB)')
while (memory.buffer.byteLength < MEMORY_MIB << 20) {
  database.exec('WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) INSERT INTO account (balance, note) SELECT 1000, randomblob(1000) FROM n')
}
const accounts = database.selectValue('SELECT count(*) FROM account') as number
console.log(`SQLite ${database.selectValue('SELECT sqlite_version()') as string}, ${accounts} accounts, ${memory.buffer.byteLength >> 20} MiB of memory`)

/** Money goes between twenty accounts, and twenty new ones are opened. */
function transact(): void {
  database.transaction(() => {
    for (let i = 0; i < 10; i++) {
      const [from, to] = [1, 2].map(() => 1 + Math.floor(Math.random() * accounts))
      database.exec('UPDATE account SET balance = balance - 1 WHERE id = ?', { bind: [from] })
      database.exec('UPDATE account SET balance = balance + 1 WHERE id = ?', { bind: [to] })
    }
    database.exec('WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20) INSERT INTO account (balance, note) SELECT 0, randomblob(1000) FROM n')
  })
}

const tracked = trackBuffer(memory)
let copy = new Uint8Array(0)

/** Saves the memory, and then twice more in the ways it is done without tracking, for comparison. */
function save(spare: Uint8Array): Saved {
  const start = performance.now()
  if (copy.length !== memory.buffer.byteLength) {
    const longer = new Uint8Array(memory.buffer.byteLength)
    longer.set(copy)
    copy = longer
  }
  const written = tracked.copyWritten(copy)
  const saveMs = performance.now() - start
  for (const { start, end } of written) writeSync(file, copy, start, end - start, start)
  return { bytes: written.bytes, saveMs, copyAllMs: timed(() => spare.set(memoryBytes(spare.length))), hashAllMs: timed(hashAll) }
}

function memoryBytes(length = memory.buffer.byteLength): Uint8Array {
  return new Uint8Array(memory.buffer, 0, length)
}

/** Which pages have changed, as it is found out without tracking. */
function hashAll(): void {
  const bytes = memoryBytes()
  for (let at = 0; at < bytes.length; at += PAGE_BYTES) h64Raw(bytes.subarray(at, at + PAGE_BYTES))
}

function timed(body: () => void): number {
  const start = performance.now()
  body()
  return performance.now() - start
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0
}

try {
  const spare = new Uint8Array(memory.buffer.byteLength).fill(1)
  const first = save(spare)
  console.log(`tracked by ${tracked.tracker}; the first save copied ${first.bytes >> 20} MiB in ${first.saveMs.toFixed(1)} ms`)
  const saves = Array.from({ length: TRANSACTIONS }, () => {
    transact()
    return save(spare)
  })
  if (Buffer.compare(copy, memoryBytes()) !== 0) throw new Error('the copy is not the memory')
  if (Buffer.compare(readFileSync(join(folder, 'memory')), memoryBytes()) !== 0) throw new Error('the file is not the memory')
  const [bytes, ours, all, hash] = (['bytes', 'saveMs', 'copyAllMs', 'hashAllMs'] as const).map((field) => median(saves.map((save) => save[field]))) as [number, number, number, number]
  console.log(`${TRANSACTIONS} transactions, each saved; medians: ${Math.round(bytes / 1024)} KiB changed, ${ours.toFixed(2)} ms to save; copying all ${all.toFixed(1)} ms (×${(all / ours).toFixed(0)}), hashing all ${hash.toFixed(1)} ms (×${(hash / ours).toFixed(0)})`)
  console.log('the copy and the file are the memory, byte for byte')
} finally {
  tracked.end()
  database.close()
  closeSync(file)
  rmSync(folder, { recursive: true })
}
