import assert from 'node:assert/strict'
import { join } from 'node:path'
import { rmSync } from 'node:fs'
import { describe, test, type TestContext } from 'node:test'
import { dump, type DumpOptions, type DumpResult } from 'tidemark'
import { countThreads, gdb, holdsText, openCore } from '../support/gdb.ts'
import { programMissing } from '../support/programs.ts'
import { objectAddress, readCounter, readObject, RedisLoad, startRedis, type RedisServer } from '../support/redis.ts'

/** What a client may wait at most. Far more than any pause here: a machine that does other things must not fail the test. */
const LATENCY_MS_MAX = 5_000
const MARKER = 'tidemark-system-test: high water at Whitby 04:12'

type Strategy = NonNullable<DumpOptions['strategy']>

/** Stores the marker, and tells where it and the load's two counters lie. */
async function addresses({ client }: RedisServer) {
  await client.ask('SET', 'marker', MARKER)
  const at = async (key: string): Promise<bigint> => await objectAddress(client, key)
  return { marker: await at('marker'), first: await at('wave:first'), last: await at('wave:last') }
}

/** Dumps the loaded server and looks at everything that a user would look at afterwards. */
async function dumpUnderLoad(t: TestContext, server: RedisServer, load: RedisLoad, strategy: Strategy): Promise<DumpResult> {
  const output = join(server.folder, `${strategy}.core`)
  const where = await addresses(server)
  load.takeLatencyMsMax()
  const before = load.batches
  const result = await dump(server.process.pid, { output, strategy })
  const after = load.batches
  const latencyMs = load.takeLatencyMsMax()
  t.diagnostic(`${strategy}${strategy === 'auto' ? ` (${result.strategy})` : ''}: ${Math.round(result.fileBytes / 1048576)} MiB, pause ${(result.pauseNs / 1e6).toFixed(2)} ms, `
    + `client's longest batch ${latencyMs.toFixed(1)} ms, ${after - before} batches in ${(result.totalNs / 1e6).toFixed(0)} ms`)
  assert.ok(latencyMs < LATENCY_MS_MAX, `the client waited ${latencyMs} ms`)
  assert.equal(await server.client.ask('PING'), 'PONG')
  assert.equal(result.consistency, 'proven', JSON.stringify(result.unproven))

  const image = openCore(t, output)
  assert.equal(readObject(image.read, where.marker, MARKER.length), MARKER)
  assert.ok(holdsText(image, MARKER), 'the marker is found by searching, too')
  const [first, last] = [readCounter(image.read, where.first), readCounter(image.read, where.last)]
  assert.ok(first === last || first === last + 1, `one instant: the first counter is at ${first}, the last at ${last}`)
  assert.ok(before <= last && first <= after + 1, `an instant of the dump: ${before} to ${after} batches, the image is at ${last}`)

  const text = await gdb(server.program, output, ['thread apply all bt', 'info threads'])
  assert.match(text, / aeMain \(/, text)
  assert.match(text, / main \(/, text)
  assert.equal(countThreads(text), result.threads, text)
  assert.equal(image.core.threads.length, result.threads)
  rmSync(output)
  return result
}

async function loadedServer(t: TestContext, dataMib: number): Promise<readonly [RedisServer, RedisLoad]> {
  const server = await startRedis(t, { dataMib })
  return [server, await RedisLoad.start(t, server.port)]
}

describe('redis-server under load', { skip: programMissing('redis-server', 'gdb') }, () => {
  for (const [dataMib, strategies] of [[1024, ['auto', 'precopy']], [128, ['fork', 'stop', 'precopy']]] as const) {
    test(`with ${dataMib} MiB is saved by ${strategies.join(', ')} without a lost write`, { timeout: 120_000 }, async (t) => {
      const [server, load] = await loadedServer(t, dataMib)
      for (const strategy of strategies) {
        const result = await dumpUnderLoad(t, server, load, strategy)
        assert.ok(result.capturedPages * 4096 > dataMib * 0.8 * 1048576, `the image holds the data: ${result.capturedPages} pages`)
      }
      await load.finish()
      assert.ok(load.batches > 0)
      assert.equal(await server.client.ask('GET', 'marker'), MARKER)
    })
  }

  test('that stands still for too long, or that loses a write, is noticed by this load', { timeout: 60_000 }, async (t) => {
    const [server, load] = await loadedServer(t, 1)
    load.takeLatencyMsMax()
    process.kill(server.process.pid, 'SIGSTOP')
    await new Promise((resolve) => setTimeout(resolve, 300))
    process.kill(server.process.pid, 'SIGCONT')
    await server.client.ask('PING')
    await new Promise((resolve) => setTimeout(resolve, 50))
    assert.ok(load.takeLatencyMsMax() > 250, 'the stop was seen')
    for (let key = 0; key < 2_000; key += 2) await server.client.ask('SET', `load:${key}`, 'lost')
    await assert.rejects(load.finish(), /last SET was/)
  })
})
