// A thread that waits in the kernel when we stop it goes on waiting: the same result, at the same time.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { attach } from 'tidemark'
import { guestsUnavailable, startGuest, type BlockedCounts } from '../support/guest.ts'

const folder = mkdtempSync(join(tmpdir(), 'tidemark-blocked-'))
after(() => rmSync(folder, { recursive: true }))

/**
 * Calls whose timeout lies in memory and not in a register begin it anew when they are made again after EINTR; all others
 * keep it to a few milliseconds. How late each was is printed, not asserted: the machine may be busy.
 */
for (const strategy of ['stop', 'fork', 'precopy'] as const) {
  test(`${strategy}: no blocked call returns early, with EINTR, or wrong, while dumps follow each other`, { skip: guestsUnavailable() }, async (t) => {
    await using guest = await startGuest('blocked', ['60000'])
    await using target = await attach(guest.pid)
    const output = join(folder, 'blocked.core')
    for (let i = 0; i < 30; i++) await target.dump({ output, replace: true, strategy })
    const verdict = await guest.finish(90_000)
    assert.equal(verdict.kind, 'ok', JSON.stringify(verdict))
    assert.ok(verdict.kind === 'ok')
    const { calls } = verdict.report as unknown as BlockedCounts
    for (const [call, { count, worstLateNs }] of Object.entries(calls)) {
      t.diagnostic(`${call}: ${count} calls, at most ${(worstLateNs / 1e6).toFixed(1)} ms late`)
    }
  })
}
