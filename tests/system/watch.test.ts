// What `top` and `predict` stand on: looks at running processes, which come to no harm by being looked at.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { isTidemarkError, predict, watchProcesses, type LiveWatch, type WatchSample } from 'tidemark'
import { guestsUnavailable, startGuest } from '../support/guest.ts'

const skip = guestsUnavailable()

async function sampleOf(watch: LiveWatch, pid: number): Promise<WatchSample> {
  const outcome = await watch.look(pid)
  assert.ok(outcome.kind === 'sample', outcome.kind)
  return outcome.sample
}

for (const tracker of ['wp-async', 'wp-sync', 'compare'] as const) {
  test(`${tracker}: samples count each page once, in the mapping where it was written, and the program comes to no harm`, { skip }, async () => {
    await using guest = await startGuest('victim', ['32', '5000'])
    await using watch = await watchProcesses([guest.pid], { trackers: [tracker] })
    let last: WatchSample | undefined
    for (let i = 0; i < 4; i++) {
      await sleep(300)
      const sample = await sampleOf(watch, guest.pid)
      const [region] = guest.info.regions
      const written = sample.mappings.find(({ start, end }) => BigInt(start) <= BigInt(region.start) && BigInt(region.start) < BigInt(end))!
      assert.ok(written.writtenPages > 0 && written.writtenPages <= region.pages, `${written.writtenPages} of ${region.pages} pages`)
      assert.equal(written.tracker, tracker)
      assert.ok(sample.mappings.reduce((sum, { writtenPages }) => sum + writtenPages, 0) === sample.writtenPages)
      assert.ok(sample.workingSet.in1sPages <= sample.workingSet.in10sPages && sample.workingSet.in10sPages <= sample.workingSet.in60sPages)
      assert.ok(sample.workingSet.in60sPages >= (last?.workingSet.in60sPages ?? 0))
      assert.ok(sample.residentPages >= region.pages)
      assert.ok(sample.predicted.stop !== undefined && sample.predicted.stop.pauseNs > 0)
      last = sample
    }
    await watch.end(guest.pid)
    assert.equal((await guest.finish()).kind, 'ok')
  })
}

test('a process that executes another program is watched anew, and one that ends is gone', { skip }, async () => {
  const child = spawn('/bin/sh', ['-c', 'read line; exec sleep 60'], { stdio: ['pipe', 'ignore', 'inherit'] })
  await using watch = await watchProcesses([child.pid!])
  assert.equal((await sampleOf(watch, child.pid!)).name, 'sh')
  child.stdin.write('go\n')
  await sleep(200)
  assert.deepEqual(await watch.look(child.pid!), { kind: 'executed', pid: child.pid, name: 'sleep' })
  assert.equal((await sampleOf(watch, child.pid!)).name, 'sleep')
  child.kill('SIGKILL')
  await once(child, 'exit')
  assert.deepEqual(await watch.look(child.pid!), { kind: 'gone', pid: child.pid })
})

test('a smaller budget asks for longer intervals', { skip }, async () => {
  await using guest = await startGuest('victim', ['32', '20000'])
  const nextAfter = async (budgetShare: number): Promise<number> => {
    await using watch = await watchProcesses([guest.pid], { budgetShare })
    await sampleOf(watch, guest.pid)
    await sleep(300)
    return (await sampleOf(watch, guest.pid)).nextAfterNs
  }
  assert.ok(await nextAfter(0.001) > 5 * await nextAfter(0.5))
})

test('predict tells what the program wrote, and leaves it unharmed', { skip }, async () => {
  await using guest = await startGuest('victim', ['32', '5000'])
  const { population, curve, strategies, convergence } = await predict(guest.pid, { forNs: 5e8 })
  assert.ok(population.pages >= 8192)
  assert.ok(curve.length >= 2 && curve.every(({ pages }) => pages > 0))
  assert.ok(strategies.precopy.converges && strategies.stop.pauseNs > strategies.precopy.pauseNs)
  assert.ok(convergence.some(({ converges }) => converges))
  assert.equal((await guest.finish()).kind, 'ok')
})

test('what cannot be watched or predicted is one clear error', async () => {
  const refused = async (body: () => Promise<unknown>): Promise<string> => {
    const error: unknown = await body().then(() => undefined, (error: unknown) => error)
    assert.ok(isTidemarkError(error), String(error))
    return error.code
  }
  assert.equal(await refused(() => predict(0x3f_ffff)), 'gone')
  assert.equal(await refused(() => predict(process.pid)), 'usage')
  assert.equal(await refused(() => predict(2, { forNs: 0 })), 'usage')
  assert.equal(await refused(() => watchProcesses([0x3f_ffff])), 'gone')
  assert.equal(await refused(() => watchProcesses([1], { budgetShare: 0 })), 'usage')
  assert.equal(await refused(() => watchProcesses([1], { trackers: ['nonsense' as 'compare'] })), 'usage')
})
