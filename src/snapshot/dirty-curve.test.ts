import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { convergence } from './convergence.ts'
import { DirtyCurve } from './dirty-curve.ts'

const point = fc.record({ ns: fc.integer({ min: 1e5, max: 1e10 }), pages: fc.nat(1e6) })

test('more time never means fewer pages, nor ever more than there are', () => {
  fc.assert(fc.property(fc.array(point, { maxLength: 6 }), fc.nat(1e6), fc.array(fc.integer({ min: 1, max: 1e12 }), { minLength: 2 }), (points, pagesMax, times) => {
    const curve = new DirtyCurve(points, pagesMax)
    let before = 0
    for (const ns of times.toSorted((a, b) => a - b)) {
      const pages = curve.pagesWithin(ns)
      assert.ok(pages >= before - 1e-6 && pages <= pagesMax, `${pages} pages within ${ns} ns after ${before}`)
      before = pages
    }
  }))
})

test('the curve goes through what was measured', () => {
  const curve = new DirtyCurve([{ ns: 4e7, pages: 700 }, { ns: 8e6, pages: 150 }, { ns: 1e9, pages: 5000 }], 1e6)
  for (const [ns, pages] of [[8e6, 150], [4e7, 700], [1e9, 5000]] as const) assert.ok(Math.abs(curve.pagesWithin(ns) - pages) < 1e-6)
})

test('a program that writes the same pages over and over writes no more in ten seconds than in one', () => {
  const curve = new DirtyCurve([{ ns: 1e8, pages: 1000 }, { ns: 1e9, pages: 1000 }], 1e6)
  assert.equal(curve.pagesWithin(1e10), 1000)
})

test('copying in rounds converges where the connection is faster than the writing, and says what it comes to where it is not', () => {
  const pagesPerSecond = 10_000
  const curve = new DirtyCurve([{ ns: 1e6, pages: pagesPerSecond / 1e3 }, { ns: 1e9, pages: pagesPerSecond }], 262_144)
  const fast = convergence(curve, 262_144, 4096, 1e9, 1e6)
  assert.equal(fast.converges, true)
  assert.ok(fast.rounds >= 2 && fast.reachedNs <= 1e6)
  assert.ok(fast.sentBytes > 2 ** 30)
  const slow = convergence(curve, 262_144, 4096, 2e7, 1e6)
  assert.equal(slow.converges, false)
  assert.ok(slow.reachedNs > 1e6)
})
