// Programs that run on while they are looked at: the sums are those that the kernel gives before and after, give or take what moved.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test, type TestContext } from 'node:test'
import { attach, type PagesReport } from 'tidemark'
import { createAccounts, postgresMissing, startPostgres, TransferLoad } from '../support/postgres.ts'
import { programMissing, startProgram } from '../support/programs.ts'
import { RedisLoad, startRedis } from '../support/redis.ts'
import { assertAgrees } from '../support/smaps.ts'
import { untilTaskState } from '../support/task-state.ts'

const LOOKS = 10
/** What may come and go during a look, beside one per cent. */
const MOVING_PAGES = 1024

function rollupPages(pid: number, pageBytes: number): number {
  const kib = Number(/^Rss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))![1])
  return (kib * 1024) / pageBytes
}

function residentPages({ total, byKind }: PagesReport): number {
  return total.mappedPages - (byKind.hugetlb?.mappedPages ?? 0)
}

/** Looks while it runs, then once more while it stands still, when every mapping must agree exactly. */
async function lookAt(t: TestContext, pid: number, what: string): Promise<PagesReport> {
  await using target = await attach(pid)
  const { pageBytes } = await target.pages()
  let worst = 0
  for (let i = 0; i < LOOKS; i++) {
    const before = rollupPages(pid, pageBytes)
    const told = residentPages(await target.pages())
    const after = rollupPages(pid, pageBytes)
    const off = Math.max(0, Math.min(before, after) - told, told - Math.max(before, after))
    worst = Math.max(worst, off)
    assert.ok(off <= MOVING_PAGES + after / 100, `${what}: ${told} pages are told where smaps had ${before}, then ${after}`)
  }
  t.diagnostic(`${what}: at most ${worst} pages off while it ran`)
  process.kill(pid, 'SIGSTOP')
  try {
    await untilTaskState(pid, ({ threads }) => threads.every(({ state }) => state === 'T'))
    const report = await target.pages()
    assertAgrees(pid, report)
    assert.equal(report.total.unknownPages, 0, JSON.stringify(report.mappings.filter(({ untold }) => untold !== undefined)))
    return report
  } finally {
    process.kill(pid, 'SIGCONT')
  }
}

test('redis-server under load', { skip: programMissing('redis-server'), timeout: 60_000 }, async (t) => {
  const server = await startRedis(t, { dataMib: 64 })
  const load = await RedisLoad.start(t, server.port)
  const { byKind } = await lookAt(t, server.process.pid, 'redis')
  assert.ok((byKind.anon?.anonPages ?? 0) * 4096 > 60 << 20)
  await load.finish()
})

test('a PostgreSQL server, a backend in the middle of transactions, and the memory they share', { skip: postgresMissing(), timeout: 120_000 }, async (t) => {
  const server = await startPostgres(t)
  const session = await server.connect()
  await createAccounts(session)
  const load = new TransferLoad(await server.connect())
  const backend = await lookAt(t, load.backendPid, 'backend')
  const shared = backend.mappings.find(({ path, perms }) => path === '/dev/zero (deleted)' && perms === 'rw-s')
  assert.equal(shared?.kind, 'shmem')
  assert.ok(shared.cachedPages > 0, 'of the buffers that all share, some are not mapped by this one')
  await lookAt(t, server.process.pid, 'postmaster')
  await load.finish()
})

test('a Node program that allocates and collects', { timeout: 60_000 }, async (t) => {
  const program = startProgram(t, process.execPath, ['-e', 'let keep = []; setInterval(() => { keep = Array.from({ length: 200000 }, (_, i) => ({ i })) }, 1); console.log("up")'])
  await program.says('up')
  const { byKind } = await lookAt(t, program.pid, 'node')
  assert.ok(byKind.file !== undefined && byKind.anon !== undefined && byKind.special !== undefined)
})
