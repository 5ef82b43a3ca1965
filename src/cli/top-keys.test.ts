import assert from 'node:assert/strict'
import { emitKeypressEvents } from 'node:readline'
import { PassThrough } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { test } from 'node:test'
import fc from 'fast-check'
import { actionOf, KEY_HELP, type Key, type TopAction } from './top-keys.ts'

/** What bytes mean, arriving in these pieces. */
async function actions(...pieces: readonly string[]): Promise<(TopAction | undefined)[]> {
  const input = new PassThrough()
  const found: (TopAction | undefined)[] = []
  emitKeypressEvents(input)
  input.on('keypress', (_: string, key: Key) => found.push(actionOf(key)))
  for (const piece of pieces) {
    input.write(piece)
    await turn()
  }
  input.end()
  return found
}

const BYTES: readonly (readonly [bytes: string, action: TopAction])[] = [
  ['\x1b[A', { kind: 'move', lines: -1 }], ['\x1bOB', { kind: 'move', lines: 1 }], ['\x1b[5~', { kind: 'page', pages: -1 }], ['\x1b[6~', { kind: 'page', pages: 1 }],
  ['\x1b[H', { kind: 'edge', to: 'first' }], ['\x1b[4~', { kind: 'edge', to: 'last' }], ['\x1b[C', { kind: 'fold', to: 'open' }], ['\x1b[D', { kind: 'fold', to: 'closed' }],
  ['\r', { kind: 'fold', to: 'other' }], ['j', { kind: 'move', lines: 1 }], ['k', { kind: 'move', lines: -1 }], ['G', { kind: 'edge', to: 'last' }],
  ['s', { kind: 'sort', by: 'next' }], ['w', { kind: 'sort', by: 'written' }], ['i', { kind: 'sort', by: 'reversed' }], ['+', { kind: 'interval', to: 'longer' }],
  ['-', { kind: 'interval', to: 'shorter' }], ['p', { kind: 'pause' }], [' ', { kind: 'pause' }], ['?', { kind: 'help' }], ['q', { kind: 'quit' }],
  ['\x03', { kind: 'quit' }], ['\x1a', { kind: 'suspend' }], ['\x0c', { kind: 'redraw' }],
]

test('the bytes of each key are its action', async () => {
  for (const [bytes, action] of BYTES) assert.deepEqual(await actions(bytes), [action], JSON.stringify(bytes))
})

test('keys are the same however their bytes arrive', async () => {
  await fc.assert(fc.asyncProperty(fc.array(fc.constantFrom(...BYTES), { maxLength: 12 }), fc.infiniteStream(fc.integer({ min: 1, max: 4 })), async (keys, lengths) => {
    const pieces: string[] = []
    for (let rest = keys.map(([bytes]) => bytes).join(''); rest !== '';) {
      const length = lengths.next().value!
      pieces.push(rest.slice(0, length))
      rest = rest.slice(length)
    }
    assert.deepEqual(await actions(...pieces), keys.map(([, action]) => action))
  }), { numRuns: 60 })
})

test('what means nothing does nothing', async () => {
  for (const bytes of ['x', 'é', '\x1b[15~', '\x04', '\x1bq', '日', '\x1b[200~']) assert.ok((await actions(bytes)).every((action) => action === undefined), JSON.stringify(bytes))
  for (const name of ['constructor', '__proto__', 'toString']) assert.equal(actionOf({ name, sequence: name }), undefined)
})

test('the help names every key that is a character', () => {
  const named = KEY_HELP.map(([keys]) => keys).join(' ')
  for (const key of ['s', 'w', 'r', 'd', 'a', 'n', 'i', '+', '-', 'p', '?', 'q', 'k', 'j', 'g', 'G']) assert.ok(named.includes(key), key)
})
