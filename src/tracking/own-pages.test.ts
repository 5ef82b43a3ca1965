import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PageNumber } from '../memory/address.ts'
import { PageSpans } from '../memory/page-spans.ts'
import { RegionList } from '../memory/region-list.ts'
import { PageState } from '../kernel/page-tables.ts'
import { OwnPages } from './own-pages.ts'

const MAPPING = { start: 0 as PageNumber, end: 16 as PageNumber }
/** Neither present nor a hole is in swap, or a marker. */
const STATES: Readonly<Record<string, number>> = { o: PageState.present, O: PageState.present | PageState.written, f: PageState.present | PageState.file }

/** What changed, of pages drawn: o own, O own and written, f the file's, s in swap, m given up with a marker, - nothing. */
function look(pages: OwnPages, drawn: string): number[] {
  const regions = new RegionList(32)
  const changed = new PageSpans()
  ;[...drawn].forEach((page, i) => { if (page !== '-') regions.push(i, i + 1, STATES[page] ?? 0) })
  pages.begin(MAPPING)
  pages.visit(regions, changed)
  pages.finish(changed, ({ start, end }, each) => {
    for (let page = start as number; page < end; page++) if (drawn[page] === 'm') each(page)
  })
  changed.sort()
  return [...drawn].flatMap((_, page) => changed.has(page) ? [page] : [])
}

test('a page that was the program\'s own and is the file\'s again has changed, once', () => {
  const pages = new OwnPages()
  look(pages, 'oofffo--')
  assert.deepEqual(look(pages, 'ofofff--'), [1, 5])
  assert.deepEqual(look(pages, 'ofofff--'), [])
})

test('an own page in swap has not changed; one that left only a marker, or a hole, has', () => {
  const pages = new OwnPages()
  look(pages, 'oooo')
  assert.deepEqual(look(pages, 'sm-o'), [1, 2])
  assert.deepEqual(look(pages, 'om-o'), [])
  assert.deepEqual(look(pages, 'Offo'), [0])
})
