import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { PageNumber } from '../memory/address.ts'
import { PageSpans } from '../memory/page-spans.ts'
import { WriteHistory } from './write-history.ts'

const range = fc.tuple(fc.nat(12_500), fc.nat(5000)).map(([start, length]) => ({ start: start as PageNumber, end: (start + length + 1) as PageNumber }))
const step = fc.oneof(
  fc.record({ kind: fc.constant('write' as const), ranges: fc.array(range, { maxLength: 3 }) }),
  fc.record({ kind: fc.constant('forget' as const), range }),
)

test('the distinct pages written since a round are those a plain map of last rounds tells', () => {
  fc.assert(fc.property(fc.array(step, { maxLength: 25 }), range, fc.nat(25), (steps, asked, since) => {
    const history = new WriteHistory()
    const last = new Map<number, number>()
    for (const step of steps) {
      if (step.kind === 'write') {
        history.begin(history.round * 1000)
        const spans = new PageSpans()
        for (const { start, end } of step.ranges) spans.add(start, end)
        history.note(spans.sort())
        for (const { start, end } of step.ranges) for (let page = start as number; page < end; page++) last.set(page, history.round)
      } else {
        history.forget(step.range)
        for (const page of [...last.keys()]) if (page >= step.range.start && page < step.range.end) last.delete(page)
      }
    }
    const expected = [...last].filter(([page, round]) => page >= asked.start && page < asked.end && round >= since).length
    assert.equal(history.distinct(asked, since), expected)
  }), { numRuns: 60 })
})

test('rounds older than are remembered count for nothing, and never below nothing', () => {
  const history = new WriteHistory()
  const spans = new PageSpans()
  spans.add(0, 4096)
  history.begin(0)
  history.note(spans)
  for (let round = 0; round < 3000; round++) history.begin(round)
  const all = { start: 0 as PageNumber, end: 4096 as PageNumber }
  assert.equal(history.distinct(all, history.round - 100), 0)
  history.begin(3000)
  history.note(spans)
  assert.equal(history.distinct(all, history.round), 4096)
})

test('the first round since a moment is found by time', () => {
  const history = new WriteHistory()
  for (const ns of [10, 20, 30, 40]) history.begin(ns)
  assert.deepEqual([5, 10, 25, 40].map((ns) => history.roundSince(ns)), [1, 2, 3, 5])
})
