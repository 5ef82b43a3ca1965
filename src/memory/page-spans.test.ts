import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { pageShift } from './address.ts'
import { PageSpans } from './page-spans.ts'
import { RegionList } from './region-list.ts'

const range = fc.tuple(fc.nat(500), fc.nat(20)).map(([start, length]) => [start, start + length] as const)

test('spans hold exactly the pages added, in any order, ascending and merged', () => {
  fc.assert(fc.property(fc.array(range, { maxLength: 200 }), (ranges) => {
    const spans = new PageSpans()
    const pages = new Set<number>()
    const regions = new RegionList(200)
    ranges.forEach(([start, end], i) => {
      if (i % 3 === 0) spans.add(start, end)
      else regions.push(start, end)
      if (i % 7 === 0) {
        spans.addRegions(regions)
        regions.clear()
      }
      for (let page = start; page < end; page++) pages.add(page)
    })
    spans.addRegions(regions)
    spans.sort()
    const held: number[] = []
    for (let i = 0; i < spans.length; i++) {
      assert.ok(i === 0 || spans.starts[i]! > spans.ends[i - 1]!, 'merged where they touch')
      for (let page = spans.starts[i]!; page < spans.ends[i]!; page++) held.push(page)
    }
    assert.deepEqual(held, [...pages].sort((a, b) => a - b))
    assert.equal(spans.pageCount(), pages.size)
    for (const page of [0, 17, 250, 519]) assert.equal(spans.has(page), pages.has(page))
  }))
})

test('of spans kept within ranges the pages in both remain', () => {
  fc.assert(fc.property(fc.array(range, { maxLength: 40 }), fc.array(range, { maxLength: 10 }), (ranges, bounds) => {
    const spans = new PageSpans()
    for (const [start, end] of ranges) spans.add(start, end)
    const within = new PageSpans()
    for (const [start, end] of bounds) within.add(start, end)
    within.sort()
    const before = spans.sort()
    const expected = Array.from({ length: 521 }, (_, page) => before.has(page) && within.has(page))
    spans.keepWithin(Array.from({ length: within.length }, (_, i) => ({ start: within.starts[i]!, end: within.ends[i]! })))
    assert.deepEqual(Array.from({ length: 521 }, (_, page) => spans.has(page)), expected)
  }))
})

test('addresses are exact for every page of a 64-bit address space, whatever the page size', () => {
  fc.assert(fc.property(fc.integer({ min: 0, max: 2 ** 48 - 2 }), fc.constantFrom(4096, 16384, 65536), (page, bytes) => {
    const spans = new PageSpans()
    spans.add(page, page + 1)
    assert.deepEqual([...spans.toAddresses(pageShift(bytes))], [BigInt(page) * BigInt(bytes), BigInt(page + 1) * BigInt(bytes)])
  }))
})

test('spans moved by so many pages stay within their bounds', () => {
  const from = new PageSpans()
  from.add(10, 20)
  from.add(30, 40)
  const to = new PageSpans()
  to.addSpans(from, 100, { start: 115, end: 135 })
  assert.deepEqual([...to.toAddresses(pageShift(4096))], [115n, 120n, 130n, 135n].map((page) => page * 4096n))
})
