import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { DirtyCurve } from './dirty-curve.ts'
import { forecastAll, forecastPrecopy } from './forecast.ts'

const GIB_PAGES = 262_144
const population = (pages: number) => ({ mappings: 30, pages, hugePages: 0, sharedPages: 0, swappedPages: 0 })
const steady = (pagesPerSecond: number, pages = GIB_PAGES): DirtyCurve =>
  new DirtyCurve([{ ns: 1e6, pages: pagesPerSecond / 1e3 }, { ns: 1e9, pages: pagesPerSecond }], pages)

test('a program that writes more is never foretold a shorter pause', () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 4 * GIB_PAGES }), fc.nat(1e6), fc.nat(1e6), (pages, a, b) => {
    const pause = (rate: number): number => forecastPrecopy(population(pages), steady(rate, pages), 2).pauseNs
    assert.ok(pause(Math.min(a, b)) <= pause(Math.max(a, b)))
  }))
})

test('a pre-copy of an idle program copies everything once', () => {
  const { copiedPages, converges } = forecastPrecopy(population(GIB_PAGES), steady(0), 12)
  assert.equal(copiedPages, GIB_PAGES)
  assert.equal(converges, true)
})

test('rounds of a program that writes faster than it can be copied do not converge', () => {
  assert.equal(forecastPrecopy(population(GIB_PAGES), steady(5e6), 12).converges, false)
})

test('each strategy has its price: stop a pause, fork memory, pre-copy work', () => {
  const { stop, fork, precopy } = forecastAll(population(GIB_PAGES), steady(20_000), 4096, 0, 12)
  assert.ok(stop.pauseNs > 10 * fork.pauseNs && fork.pauseNs > 5 * precopy.pauseNs)
  assert.ok(fork.extraMemoryBytes > precopy.extraMemoryBytes)
  assert.ok(precopy.writtenBytes > stop.writtenBytes)
})
