import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeText, encodeText } from './text.ts'

test('any bytes survive decoding and encoding', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
    assert.deepEqual(encodeText(decodeText(bytes)), bytes)
  }), { numRuns: 2000 })
})

test('bytes that look like UTF-8 survive too, cut anywhere', () => {
  const lead = fc.constantFrom(0x41, 0xc1, 0xc2, 0xe0, 0xe1, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf)
  fc.assert(fc.property(fc.array(lead, { maxLength: 12 }), (list) => {
    const bytes = Uint8Array.from(list)
    assert.deepEqual(encodeText(decodeText(bytes)), bytes)
  }), { numRuns: 5000 })
})

test('well-formed text is encoded and decoded as the platform does it', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => {
    const bytes = new Uint8Array(Buffer.from(text, 'utf8'))
    assert.deepEqual(encodeText(text), bytes)
    assert.equal(decodeText(bytes), text)
  }))
})

test('a byte that is no UTF-8 becomes a lone surrogate, a stray surrogate U+FFFD', () => {
  assert.equal(decodeText(Uint8Array.of(0x61, 0xff)), 'a\udcff')
  assert.deepEqual(encodeText('\ud800'), Uint8Array.of(0xef, 0xbf, 0xbd))
})
