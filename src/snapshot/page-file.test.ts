import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { PageRange } from '../memory/page-range.ts'
import { FileLayout } from './file-layout.ts'
import { PageFile } from './page-file.ts'

const PAGE = 4096
const MAPPING = { start: 0, end: 24 } as PageRange
const block = (pages: number) => ({ address: 0, bytes: new Uint8Array(pages * PAGE), [Symbol.dispose]: () => {} })

/** Rounds of stores (a value for each page, 0 for a page of zeros) and erasures, against a plain array of pages. */
const action = fc.oneof(
  fc.record({ kind: fc.constant('store' as const), start: fc.nat(20), values: fc.array(fc.nat(3), { minLength: 1, maxLength: 4 }) }),
  fc.record({ kind: fc.constant('erase' as const), start: fc.nat(20), values: fc.array(fc.nat(), { minLength: 1, maxLength: 4 }) }),
)

test('after any rounds of stores and erasures the file reads as the last of them says', () => {
  fc.assert(fc.property(fc.array(action, { maxLength: 40 }), (actions) => {
    const file = new Uint8Array(64 * PAGE)
    const layout = new FileLayout(PAGE, PAGE)
    const pages = new PageFile(layout, { write: (from, at, length, offset) => file.set(from.bytes.subarray(at, at + length), offset) }, PAGE)
    const expected = new Array<number>(24).fill(0)
    const held = new Set<number>()
    for (const { kind, start, values } of actions) {
      if (kind === 'erase') pages.erase({ start, end: start + values.length } as PageRange, block(1))
      else {
        const source = block(values.length)
        values.forEach((value, i) => { source.bytes[i * PAGE + 4000 + value] = value })
        pages.store(MAPPING, start, values.length, source, 0)
      }
      values.forEach((value, i) => {
        expected[start + i] = kind === 'erase' ? 0 : value
        if (kind === 'erase') held.delete(start + i)
        else held.add(start + i)
      })
    }
    assert.equal(pages.heldPages, held.size)
    assert.equal(pages.zeroPages, [...held].filter((page) => expected[page] === 0).length)
    if (held.size === 0) return
    for (let page = 0; page < 24; page++) {
      const contents = file.subarray(PAGE * (page + 1), PAGE * (page + 2))
      const wanted = new Uint8Array(PAGE)
      if (expected[page] !== 0) wanted[4000 + expected[page]!] = expected[page]!
      assert.deepEqual(contents, wanted)
    }
  }))
})

test('pages of zeros are not written', () => {
  let written = 0
  const pages = new PageFile(new FileLayout(PAGE, PAGE), { write: (_from, _at, length) => { written += length } }, PAGE)
  pages.store(MAPPING, 0, 4, block(4), 0)
  assert.equal(written, 0)
  assert.equal(pages.zeroPages, 4)
})
