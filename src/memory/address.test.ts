import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { address, addressOf, formatAddress, pageOf, pageShift } from './address.ts'

test('an address survives the way to its page and back, for every page size, up to the last byte', () => {
  fc.assert(fc.property(fc.bigInt(0n, 2n ** 64n - 1n), fc.constantFrom(4096, 16384, 65536), (value, bytes) => {
    const shift = pageShift(bytes)
    assert.equal(addressOf(pageOf(address(value), shift), shift), value - (value % BigInt(bytes)))
  }))
})

test('what is no address or page size is refused', () => {
  assert.throws(() => address(-1n), RangeError)
  assert.throws(() => address(2n ** 64n), RangeError)
  assert.throws(() => pageShift(5000), RangeError)
})

test('addresses print with 16 digits', () => {
  assert.equal(formatAddress(0x7f00n), '0x0000000000007f00')
})
