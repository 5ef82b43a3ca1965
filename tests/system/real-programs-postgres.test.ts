import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { dump, type DumpOptions } from 'tidemark'
import { countThreads, gdb, openCore } from '../support/gdb.ts'
import { ACCOUNTS, BALANCE, createAccounts, postgresMissing, startPostgres, TransferLoad, type PostgresServer, type Session } from '../support/postgres.ts'
import { programMissing, tidemark } from '../support/programs.ts'

const LATENCY_MS_MAX = 5_000
const EXIT_UNPROVEN = 6
const STRATEGIES: readonly NonNullable<DumpOptions['strategy']>[] = ['auto', 'precopy', 'fork', 'stop']
/** Shared memory without a file, in Linux's name for it: this is what shared_buffers lie in. */
const SHARED_BUFFERS = '/dev/zero (deleted)'

const skip = postgresMissing() ?? programMissing('gdb')

async function checkpointerPid(session: Session): Promise<number> {
  return Number(await session.query("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer';"))
}

/** A core that holds shared memory which others write says so, names it, and is a core all the same. */
async function dumpShared(t: TestContext, server: PostgresServer, pid: number, what: string, strategy: NonNullable<DumpOptions['strategy']>): Promise<void> {
  const output = join(server.folder, `${what}-${strategy}.core`)
  const result = await dump(pid, { output, strategy })
  t.diagnostic(`${what}, ${strategy}${strategy === 'auto' ? ` (${result.strategy})` : ''}: pause ${(result.pauseNs / 1e6).toFixed(2)} ms`)
  assert.equal(result.consistency, 'unproven')
  const shared = result.unproven.find(({ mapping }) => mapping?.path === SHARED_BUFFERS)
  assert.match(shared?.why ?? 'not named', new RegExp(`process (.*\\b${server.process.pid}\\b|.* more).* can write it`), JSON.stringify(result.unproven))
  assert.ok(result.unproven.every(({ kind }) => kind === 'shared-writers'), JSON.stringify(result.unproven))
  await assertOpens(t, server, output, what, result.threads)
  rmSync(output)
}

async function assertOpens(t: TestContext, server: PostgresServer, core: string, what: string, threads: number): Promise<void> {
  const text = await gdb(server.program, core, ['bt', 'info threads'])
  assert.match(text, what === 'checkpointer' ? / CheckpointerMain \(/ : / PostgresMain \(/, text)
  assert.equal(countThreads(text), threads, text)
  assert.equal(openCore(t, core).core.threads.length, threads)
}

async function assertMoneyIsThere(session: Session, loads: readonly TransferLoad[]): Promise<void> {
  assert.equal(await session.query('SELECT sum(balance) FROM account;'), String(ACCOUNTS * BALANCE))
  const done = loads.reduce((sum, { transactions }) => sum + transactions, 0)
  assert.ok(done > 0)
  assert.equal(await session.query('SELECT count(*) FROM transfer;'), String(done))
}

test('a PostgreSQL backend and the checkpointer are saved in the middle of transactions, unproven for the memory they share', { skip, timeout: 120_000 }, async (t) => {
  const server = await startPostgres(t)
  const admin = await server.connect()
  await createAccounts(admin)
  const loads = [new TransferLoad(await server.connect()), new TransferLoad(await server.connect())]
  const checkpointer = await checkpointerPid(admin)
  for (const strategy of STRATEGIES) await dumpShared(t, server, loads[0]!.backendPid, 'backend', strategy)
  for (const strategy of ['precopy', 'fork'] as const) {
    const checkpoint = admin.query('CHECKPOINT;')
    await dumpShared(t, server, checkpointer, 'checkpointer', strategy)
    await checkpoint
  }
  for (const load of loads) await load.finish()
  for (const load of loads) assert.ok(load.latencyMsMax < LATENCY_MS_MAX, `a transaction took ${load.latencyMsMax} ms`)
  t.diagnostic(`${loads.map(({ transactions }) => transactions).join(' and ')} transactions, longest ${Math.max(...loads.map(({ latencyMsMax }) => latencyMsMax)).toFixed(1)} ms`)
  await assertMoneyIsThere(admin, loads)
})

test('the command line exits with 6 for a PostgreSQL backend, and with 0 when the shared memory is left out', { skip, timeout: 60_000 }, async (t) => {
  const server = await startPostgres(t)
  const admin = await server.connect()
  await createAccounts(admin)
  const load = new TransferLoad(await server.connect())
  const whole = join(server.folder, 'whole.core')
  const unproven = await tidemark(['dump', String(load.backendPid), '-o', whole, '--json'])
  assert.equal(unproven.code, EXIT_UNPROVEN, unproven.stderr)
  const result = JSON.parse(unproven.stdout) as { readonly consistency: string; readonly warnings: readonly string[] }
  assert.equal(result.consistency, 'unproven')
  assert.ok(result.warnings.some((warning) => warning.includes(SHARED_BUFFERS)), JSON.stringify(result.warnings))

  const own = join(server.folder, 'own.core')
  const proven = await tidemark(['dump', String(load.backendPid), '-o', own, '--json', '--no-anon-shared'])
  assert.equal(proven.code, 0, proven.stderr)
  const { consistency, threads } = JSON.parse(proven.stdout) as { readonly consistency: string; readonly threads: number }
  assert.equal(consistency, 'proven')
  await assertOpens(t, server, own, 'backend', threads)
  const { core } = openCore(t, own)
  const shared = core.files.filter(({ path }) => path === SHARED_BUFFERS)
  assert.ok(shared.length > 0, 'the mapping is still listed')
  for (const { start } of shared) assert.equal(core.segments.find((segment) => segment.start === start)?.fileBytes, 0)
  await load.finish()
  await assertMoneyIsThere(admin, [load])
})
