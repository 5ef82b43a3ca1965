import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { heatStrip, sparkline } from './sparkline.ts'

const strip = (heat: readonly number[], cellPages: number, width: number): string => heatStrip(heat, cellPages, width).map(({ text }) => text).join('')

test('the greatest value has the highest bar, zero none, and the newest is at the right', () => {
  assert.equal(sparkline([0, 1, 4, 8], 6), '   ▁▄█')
  assert.equal(sparkline([9, 1, 1], 2), '██')
  assert.equal(sparkline([], 3), '   ')
  assert.equal(sparkline([1], 0), '')
})

test('whatever was written shows in the sparkline', () => {
  fc.assert(fc.property(fc.array(fc.nat(), { maxLength: 20 }), (values) => {
    const line = sparkline(values, 20)
    assert.equal(line.length, 20)
    values.forEach((value, i) => assert.equal(line[20 - values.length + i] === ' ', value === 0))
  }))
})

test('heat has four shades by the share of pages written', () => {
  assert.equal(strip([0, 1, 10, 100, 500, 1000], 1000, 6), '·░▒▓██')
})

test('a strip has its width, and one written page is seen in it at any width', () => {
  fc.assert(fc.property(fc.array(fc.nat({ max: 100 }), { minLength: 1, maxLength: 100 }), fc.integer({ min: 1, max: 150 }), (heat, width) => {
    const shown = strip(heat, 100, width)
    assert.equal([...shown].length, width)
    assert.equal([...shown].every((cell) => cell === '·'), heat.every((pages) => pages === 0))
  }))
  assert.equal(strip([], 1, 10), '')
})
