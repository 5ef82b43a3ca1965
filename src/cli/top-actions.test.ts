import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pressed } from './top-actions.ts'
import type { TopAction } from './top-keys.ts'
import { initialState } from './top-state.ts'

const press = (state: ReturnType<typeof initialState>, ...actions: readonly TopAction[]) => actions.reduce((before, action) => pressed(before, action, [], 10), state)

test('the interval goes from step to step and stops at the ends', () => {
  const longer: TopAction = { kind: 'interval', to: 'longer' }
  const shorter: TopAction = { kind: 'interval', to: 'shorter' }
  assert.equal(press(initialState([1], 1e9), longer).intervalNs, 2e9)
  assert.equal(press(initialState([1], 1e9), shorter, shorter).intervalNs, 2e8)
  assert.equal(press(initialState([1], 1.5e9), shorter).intervalNs, 1e9)
  assert.equal(press(initialState([1], 50e6), shorter).intervalNs, 50e6)
  assert.equal(press(initialState([1], 3600e9), longer).intervalNs, 3600e9)
})

test('s goes through all columns and back to the first', () => {
  const next: TopAction = { kind: 'sort', by: 'next' }
  let state = initialState([1], 1e9)
  const names = [1, 2, 3, 4, 5].map(() => (state = press(state, next)).sort)
  assert.deepEqual(names, ['resident', 'set', 'address', 'path', 'written'])
  assert.equal(press(state, { kind: 'sort', by: 'reversed' }).reversed, true)
})

test('keys that need a line do nothing where there is none', () => {
  const state = initialState([], 1e9)
  assert.deepEqual(press(state, { kind: 'move', lines: 1 }, { kind: 'fold', to: 'other' }, { kind: 'edge', to: 'last' }), state)
})

test('help, pause and back', () => {
  const state = press(initialState([1], 1e9), { kind: 'help' }, { kind: 'pause' })
  assert.deepEqual([state.help, state.paused], [true, true])
  assert.equal(press(state, { kind: 'back' }).help, false)
})
