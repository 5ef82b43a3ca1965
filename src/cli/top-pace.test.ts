import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { WatchOutcome } from '../index.ts'
import { Pace, type Looking } from './top-pace.ts'
import { watchSample } from './top-samples.test.ts'

/** A watch that answers at once, and remembers when it was asked. */
function looking(answer: (pid: number, look: number) => WatchOutcome): Looking & { readonly looks: [pid: number, atMs: number][] } {
  const looks: [number, number][] = []
  return {
    looks,
    look: (pid) => {
      looks.push([pid, performance.now()])
      return Promise.resolve(answer(pid, looks.filter(([other]) => other === pid).length))
    },
  }
}

const sample = (pid: number, nextAfterNs = 0): WatchOutcome => ({ kind: 'sample', sample: watchSample({ pid, nextAfterNs }) })

async function all(outcomes: AsyncGenerator<WatchOutcome>): Promise<WatchOutcome[]> {
  const found: WatchOutcome[] = []
  for await (const outcome of outcomes) found.push(outcome)
  return found
}

test('each process has its looks in turn, and one that is gone has no more', async () => {
  const watch = looking((pid, look) => (pid === 2 && look === 2 ? { kind: 'gone', pid } : sample(pid)))
  const outcomes = await all(new Pace(1e6).outcomes(watch, [1, 2], 3))
  assert.equal(outcomes.length, 5)
  assert.deepEqual(watch.looks.map(([pid]) => pid).toSorted(), [1, 1, 1, 2, 2])
})

test('that it executes is no look', async () => {
  const watch = looking((pid, look) => (look === 1 ? { kind: 'executed', pid, name: 'ls' } : sample(pid)))
  assert.deepEqual((await all(new Pace(1e6).outcomes(watch, [1], 1))).map(({ kind }) => kind), ['executed', 'sample'])
})

test('between two looks lies the interval, or longer where the budget asks for it', async () => {
  const watch = looking((pid, look) => sample(pid, look === 2 ? 60e6 : 0))
  const start = performance.now()
  await all(new Pace(20e6).outcomes(watch, [1], 3))
  const at = [start, ...watch.looks.map(([, atMs]) => atMs)]
  // At least: timers are late, never early, but for their rounding to a millisecond.
  assert.ok(at[1]! - at[0]! >= 19, 'before the first too')
  assert.ok(at[2]! - at[1]! >= 19)
  assert.ok(at[3]! - at[2]! >= 59)
})

test('paused it asks nothing; a shorter interval counts at once', async () => {
  const pace = new Pace(3600e9)
  const watch = looking((pid) => sample(pid))
  const outcomes = pace.outcomes(watch, [1])
  const first = outcomes.next()
  pace.set({ intervalNs: 1e6, paused: true })
  await new Promise((resolve) => setTimeout(resolve, 20))
  assert.equal(watch.looks.length, 0)
  pace.set({ intervalNs: 1e6, paused: false })
  assert.equal((await first).done, false)
})

test('ended it waits neither for the time nor for a look that is under way', async () => {
  const waiting = new Pace(3600e9)
  const first = waiting.outcomes(looking((pid) => sample(pid)), [1]).next()
  waiting.end()
  assert.equal((await first).done, true)
  const held = new Pace(1)
  const second = held.outcomes({ look: () => new Promise(() => {}) }, [1]).next()
  await new Promise((resolve) => setTimeout(resolve, 10))
  held.end()
  assert.equal((await second).done, true)
})

test('an error of a look is the caller\'s', async () => {
  await assert.rejects(all(new Pace(1).outcomes({ look: () => Promise.reject(new Error('engine')) }, [1])), /engine/)
})
