import assert from 'node:assert/strict'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { dump, type DumpOptions } from 'tidemark'
import { countThreads, gdb } from '../support/gdb.ts'
import { HttpLoad, startNginx, type NginxServer } from '../support/nginx.ts'
import { childrenOf, programMissing, until } from '../support/programs.ts'

const LATENCY_MS_MAX = 5_000
const CLIENTS = 8

const skip = programMissing('nginx', 'gdb')

async function dumpServing(t: TestContext, server: NginxServer, load: HttpLoad, pid: number, strategy: NonNullable<DumpOptions['strategy']>): Promise<void> {
  const what = pid === server.process.pid ? 'master' : 'worker'
  const output = join(server.folder, `${what}-${strategy}.core`)
  load.takeLatencyMsMax()
  const before = load.requests
  const result = await dump(pid, { output, strategy })
  const latencyMs = load.takeLatencyMsMax()
  t.diagnostic(`${what}, ${strategy}: pause ${(result.pauseNs / 1e6).toFixed(2)} ms, longest request ${latencyMs.toFixed(1)} ms, ${load.requests - before} requests`)
  assert.ok(latencyMs < LATENCY_MS_MAX, `a request took ${latencyMs} ms`)
  // Master and workers share a page of counters and a mutex.
  assert.ok(result.unproven.every(({ kind, mapping }) => kind === 'shared-writers' && mapping !== undefined), JSON.stringify(result.unproven))
  const text = await gdb(server.program, output, ['bt', 'info threads'])
  assert.match(text, /^#\d+ .* (main|__libc_start_main\w*) \(/m, text)
  assert.match(text, what === 'worker' ? / epoll_wait \(|ngx_/ : /sigsuspend|ngx_/, text)
  assert.equal(countThreads(text), result.threads, text)
  rmSync(output)
}

test('an nginx master and worker are saved while they serve, and no request fails', { skip, timeout: 60_000 }, async (t) => {
  const server = await startNginx(t)
  const load = new HttpLoad(t, server.port, CLIENTS)
  for (const strategy of ['auto', 'precopy', 'fork', 'stop'] as const) {
    for (const pid of [server.workers[0]!, server.process.pid]) await dumpServing(t, server, load, pid, strategy)
  }
  const served = load.requests
  await load.finish()
  assert.ok(load.requests > served, 'it serves on')
  assert.deepEqual(childrenOf(server.process.pid), server.workers, 'no worker was replaced')
  assert.doesNotMatch(readFileSync(join(server.folder, 'error.log'), 'utf8'), /\[(alert|crit|emerg|error)\]/)
})

test('a request that nginx does not answer as it should is noticed by this load', { skip, timeout: 60_000 }, async (t) => {
  const server = await startNginx(t)
  const load = new HttpLoad(t, server.port, CLIENTS)
  // A connection that no worker has taken yet would outlive the workers.
  await until(() => load.requests > 4 * CLIENTS, 'all clients are served')
  for (const worker of server.workers) process.kill(worker, 'SIGKILL')
  await assert.rejects(load.broken(), /hang up|ECONNRESET|ECONNREFUSED|status/)
})
