import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { RangeCollector } from './written-ranges.ts'

test('ranges that touch become one, and together they hold what was added', () => {
  const piece = fc.record({ gap: fc.nat(2), length: fc.integer({ min: 1, max: 5 }) })
  fc.assert(fc.property(fc.array(piece, { maxLength: 200 }), (pieces) => {
    const collector = new RangeCollector()
    const expected = new Set<number>()
    let at = 0
    for (const { gap, length } of pieces) {
      at += gap
      collector.add(at, at + length)
      for (let i = 0; i < length; i++) expected.add(at++)
    }
    const ranges = collector.finish()
    const held = [...ranges].flatMap(({ start, end }) => Array.from({ length: end - start }, (_, i) => start + i))
    assert.deepEqual(held, [...expected])
    assert.equal(ranges.bytes, expected.size)
    assert.equal([...ranges].length, ranges.length)
    const [starts, ends] = [[...ranges].map(({ start }) => start), new Set([...ranges].map(({ end }) => end))]
    assert.ok(!starts.some((start) => ends.has(start)), 'none begins where another ends')
  }))
})
