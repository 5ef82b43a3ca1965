import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { cellWidth, cutEnd, cutMiddle, padCells, printable } from './text-width.ts'

test('wide characters take two cells and combining ones none', () => {
  assert.equal(cellWidth('日本'), 4)
  assert.equal(cellWidth('e\u0301'), 1)
  assert.equal(cellWidth('👩‍👩‍👧‍👦'), 2)
  assert.equal(padCells('日本', 6), '日本  ')
  assert.equal(padCells('ab', 4, 'right'), '  ab')
})

test('a cut leaves whole characters and its sign', () => {
  assert.equal(cutEnd('abcdef', 4), 'abc…')
  assert.equal(cutEnd('日本語', 4), '日…')
  assert.equal(cutEnd('abc', 3), 'abc')
  assert.equal(cutEnd('abc', 0), '')
  assert.equal(cutMiddle('/usr/lib/x86_64-linux-gnu/libc.so.6', 20), '/usr/li…nu/libc.so.6')
})

test('a cut is never wider than asked for, and nothing is cut that fits', () => {
  fc.assert(fc.property(fc.string({ unit: 'grapheme' }).map(printable), fc.integer({ min: 0, max: 40 }), (text, width) => {
    for (const cut of [cutEnd, cutMiddle]) {
      assert.ok(cellWidth(cut(text, width)) <= width)
      if (cellWidth(text) <= width) assert.equal(cut(text, width), text)
    }
  }))
})

test('nothing printable moves the cursor, colours or turns the text', () => {
  assert.equal(printable('a\x1b[31mb\r\n\u202ec\u009b'), 'a�[31mb���c�')
  assert.equal(printable('/usr/bin/日本'), '/usr/bin/日本')
})
