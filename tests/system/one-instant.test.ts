// Promise 2: a snapshot is one instant. The wavefront guest's memory and registers tell any other apart.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { attach, type DumpResult, type StrategyName } from 'tidemark'
import { guestsUnavailable, startGuest, type Guest, type WavefrontInfo } from '../support/guest.ts'
import { openCore } from '../support/image.ts'
import { leftBehind, readTaskState, untilTaskState } from '../support/task-state.ts'
import { checkWavefront } from '../support/wavefront-check.ts'

const folder = mkdtempSync(join(tmpdir(), 'tidemark-instant-'))
after(() => rmSync(folder, { recursive: true }))
const skip = guestsUnavailable()
const strategies: readonly (StrategyName | 'auto')[] = ['stop', 'fork', 'precopy', 'auto']

interface Tally {
  pages: number
  exactThreads: number
  blocks: number
  unproven: number
}

/** Dumps the guest again and again and checks every image. */
async function dumpAndCheck(guest: Guest<WavefrontInfo>, strategy: StrategyName | 'auto', times: number): Promise<Tally> {
  const tally: Tally = { pages: 0, exactThreads: 0, blocks: 0, unproven: 0 }
  const output = join(folder, 'wave.core')
  await using target = await attach(guest.pid)
  for (let i = 0; i < times; i++) {
    const result: DumpResult = await target.dump({ output, replace: true, strategy, filter: 0x3f })
    using opened = openCore(output)
    const { problems, checked } = checkWavefront(guest.info, opened.image)
    assert.deepEqual(problems, [], `dump ${i} by ${result.strategy}, ${JSON.stringify(result)}`)
    tally.pages += checked.pages
    tally.exactThreads += checked.exactThreads
    tally.blocks += checked.stableBlocks
    // Its children share some memory with it while they live, and could write it.
    const unexplained = result.unproven.filter(({ kind }) => !guest.info.churn || kind !== 'shared-writers')
    assert.deepEqual(unexplained, [])
    if (result.consistency === 'unproven') tally.unproven++
  }
  return tally
}

// Another's marks on the pages are not ours: neither to believe nor to set.
for (const strategy of ['precopy', 'auto'] as const) {
  test(`${strategy}: images of a process that somebody else tracks all the while are of one instant`, { skip }, async () => {
    await using guest = await startGuest('wavefront', ['2', '1024'])
    await using other = await attach(guest.pid)
    await using tracking = await other.track({ trackers: ['wp-async'] })
    let over = false
    const collecting = (async () => { while (!over) await tracking.collect() })()
    await dumpAndCheck(guest, strategy, 10)
    over = true
    await collecting
    const verdict = await guest.finish()
    assert.equal(verdict.kind, 'ok', JSON.stringify(verdict))
  })
}

for (const strategy of strategies) {
  for (const [what, args, times] of [
    ['1 thread', ['1', '4096'], 25],
    ['8 threads', ['8', '512'], 25],
    ['8 threads in a process that maps, unmaps, moves, forks, grows and takes signals', ['8', '256', 'churn'], 25],
    ['huge pages', ['2', '2048', 'thp'], 8],
    ['shared memory', ['2', '1024', 'shared'], 8],
    ['a shared file mapping', ['2', '1024', 'file'], 8],
  ] as const) {
    test(`${strategy}: images of ${what} are of one instant, and do no harm`, { skip }, async (t) => {
      await using guest = await startGuest('wavefront', args)
      const before = readTaskState(guest.pid)
      const tally = await dumpAndCheck(guest, strategy, times)
      t.diagnostic(`${times} dumps: ${tally.pages} pages and ${tally.exactThreads} threads agree, ${tally.blocks} blocks of the ledger, ${tally.unproven} unproven`)
      assert.ok(tally.exactThreads === times * guest.info.threads.length)
      if (!guest.info.churn) await untilTaskState(guest.pid, (now) => leftBehind(before, now).length === 0)
      const verdict = await guest.finish()
      assert.equal(verdict.kind, 'ok', JSON.stringify(verdict))
    })
  }
}
