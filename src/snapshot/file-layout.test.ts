import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { PageRange } from '../memory/page-range.ts'
import { FileLayout } from './file-layout.ts'

const PAGE = 4096
const range = fc.tuple(fc.nat(60), fc.integer({ min: 1, max: 12 })).map(([start, pages]) => ({ start, end: start + pages }) as PageRange)

test('every reserved page keeps one place of its own, however mappings come and overlap', () => {
  fc.assert(fc.property(fc.array(range, { maxLength: 30 }), (ranges) => {
    const layout = new FileLayout(PAGE, PAGE)
    const places = new Map<number, number>()
    for (const mapping of ranges) {
      layout.reserve(mapping, mapping)
      for (let page = mapping.start; page < mapping.end; page++) {
        const extent = layout.extentOf(page)
        const place = extent.fileOffset + (page - extent.start) * PAGE
        assert.equal(places.get(page) ?? place, place)
        places.set(page, place)
      }
    }
    assert.equal(new Set(places.values()).size, places.size)
    assert.ok([...places.values()].every((place) => place >= PAGE && place < layout.fileBytes))
    for (const { start, end, fileOffset } of layout.within({ start: 0, end: 100 } as PageRange)) {
      for (let page = start; page < end; page++) assert.equal(places.get(page), fileOffset + (page - start) * PAGE)
    }
  }))
})

test('a mapping of terabytes gets room only around the pages it has', () => {
  const layout = new FileLayout(PAGE, PAGE)
  layout.reserve({ start: 0, end: 2 ** 30 } as PageRange, { start: 2 ** 29, end: 2 ** 29 + 1 } as PageRange)
  assert.ok(layout.fileBytes <= 2 ** 30 + PAGE)
})

test('neighbours in memory and file are one stretch', () => {
  const layout = new FileLayout(PAGE, PAGE)
  layout.reserve({ start: 0, end: 2 } as PageRange, { start: 0, end: 1 } as PageRange)
  layout.reserve({ start: 2, end: 5 } as PageRange, { start: 2, end: 3 } as PageRange)
  assert.deepEqual(layout.within({ start: 0, end: 5 } as PageRange), [{ start: 0, end: 5, fileOffset: PAGE }])
})
