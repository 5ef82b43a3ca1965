// A program that is tracked, and whose tracker is killed, goes on as if nobody had been there.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { attach, capabilities } from 'tidemark'
import { guestsUnavailable, startGuest } from '../support/guest.ts'
import { seededRandom } from '../support/random.ts'

const FOREVER = new URL('../support/track-forever.js', import.meta.url).pathname
const KILLS = 12
const { trackers } = await capabilities()

for (const { tracker, available, why } of trackers) {
  const skip = guestsUnavailable() || (available ? false : why)

  // Threads are born and end all the while: the kernel's last write for one that ends can wait for nobody.
  test(`${tracker}: a program with short-lived threads, signals and remapping is not harmed by being tracked without a break`, { skip }, async (t) => {
    await using guest = await startGuest('wavefront', ['4', '512', 'churn'])
    await using target = await attach(guest.pid)
    const tracking = await target.track({ trackers: [tracker] })
    let collects = 0
    let pages = 0
    for (const end = performance.now() + 3000; performance.now() < end; collects++) pages += (await tracking.collect()).writtenPages
    await tracking[Symbol.asyncDispose]()
    const verdict = await guest.finish()
    assert.equal(verdict.kind, 'ok', JSON.stringify(verdict))
    t.diagnostic(`${collects} reports, ${Math.round(pages / collects)} pages in each`)
  })

  test(`${tracker}: killed at any moment, the tracker leaves the program unharmed`, { skip, timeout: 120_000 }, async (t) => {
    await using guest = await startGuest('wavefront', ['2', '256', 'churn'])
    const random = seededRandom(t)
    for (let i = 0; i < KILLS; i++) {
      const tool = spawn(process.execPath, [FOREVER, String(guest.pid), tracker], { stdio: ['ignore', 'pipe', 'inherit'] })
      const exit = once(tool, 'exit')
      await once(tool.stdout, 'data')
      await sleep(random.next() * 40)
      tool.kill('SIGKILL')
      const [code, signal] = await exit as [number | null, string | null]
      assert.equal(signal, 'SIGKILL', `it ended by itself, with status ${code}`)
    }
    const verdict = await guest.finish()
    assert.equal(verdict.kind, 'ok', JSON.stringify(verdict))
  })
}
