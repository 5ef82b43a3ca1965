import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { PageNumber } from './address.ts'
import { PageBitmap } from './page-bitmap.ts'

/** Pages near chunk borders, and far apart. */
const page = fc.oneof(fc.nat(200), fc.integer({ min: 32_700, max: 32_900 }), fc.integer({ min: 2 ** 35, max: 2 ** 35 + 70_000 }), fc.constant(2 ** 52 - 1))
const step = fc.record({ add: fc.boolean(), page })

test('a bitmap holds what a set holds', () => {
  fc.assert(fc.property(fc.array(step, { maxLength: 300 }), page, fc.nat(100_000), (steps, from, length) => {
    const bitmap = new PageBitmap()
    const set = new Set<number>()
    for (const { add, page } of steps) {
      if (add) {
        bitmap.add(page as PageNumber)
        set.add(page)
      } else {
        bitmap.delete(page as PageNumber)
        set.delete(page)
      }
      assert.equal(bitmap.size, set.size)
      assert.equal(bitmap.has(page as PageNumber), set.has(page))
    }
    const end = Math.min(from + length, 2 ** 52)
    assert.deepEqual([...bitmap.within({ start: from as PageNumber, end: end as PageNumber })], [...set].filter((p) => p >= from && p < end).sort((a, b) => a - b))
  }))
})
