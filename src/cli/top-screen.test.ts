import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import stringWidth from 'string-width'
import type { WatchOutcome } from '../index.ts'
import { painter } from './table.ts'
import { pressed } from './top-actions.ts'
import type { TopAction } from './top-keys.ts'
import { anySample, mappingSample, watchSample } from './top-samples.test.ts'
import { frameOf, type Size } from './top-screen.ts'
import { initialState, mappingKey, seen, type TopState } from './top-state.ts'

const plain = painter({ isTTY: true }, { NO_COLOR: '1' })
const coloured = painter({ isTTY: true }, {})

/** Three looks at one process, one at another that executes, a third that goes, and a mapping opened. */
function story(): TopState {
  const outcomes: WatchOutcome[] = [
    ...[500, 2000, 5100].map((writtenPagesPerSecond): WatchOutcome => ({ kind: 'sample', sample: watchSample({ writtenPagesPerSecond }) })),
    { kind: 'sample', sample: watchSample({ pid: 4243, name: 'sh', predicted: {}, heat: [], forkedPids: [5001, 5002, 5003, 5004, 5005, 5006], mappings: [mappingSample({ path: '/srv/日本語/データ' })] }) },
    { kind: 'gone', pid: 4244 },
  ]
  const state = outcomes.reduce(seen, initialState([4242, 4243, 4244], 1e9))
  return { ...state, toggled: new Set([mappingKey(4242, mappingSample({ start: '0x00007f2000000000' }))]) }
}

function goldenFrame(size: Size, paint: typeof plain): string {
  return `${frameOf(story(), size, paint).lines.join('\n')}\n`
}

for (const [name, columns, rows, paint] of [['20x5', 20, 5, plain], ['80x24', 80, 24, plain], ['200x60', 200, 60, plain], ['100x30-colours', 100, 30, coloured]] as const) {
  test(`the screen of ${name} is as it was`, () => {
    // From dist/cli/ and from src/cli/ alike.
    const golden = new URL(`../../src/cli/golden/top-${name}.txt`, import.meta.url)
    const text = goldenFrame({ columns, rows }, paint)
    if (process.env['TIDEMARK_WRITE_GOLDEN'] === '1') writeFileSync(golden, text)
    assert.equal(text, readFileSync(golden, 'utf8'))
  })
}

test('without colours there is no escape code and the heat still shows', () => {
  assert.doesNotMatch(goldenFrame({ columns: 80, rows: 24 }, plain), /\x1b/)
  assert.match(goldenFrame({ columns: 80, rows: 24 }, plain), /·+░+▒+▓+█+/)
  assert.match(goldenFrame({ columns: 80, rows: 24 }, coloured), /\x1b\[31m█+\x1b\[0m/)
})

const anyOutcome = fc.integer({ min: 1, max: 3 }).chain((pid): fc.Arbitrary<WatchOutcome> => fc.oneof(
  { weight: 8, arbitrary: anySample(pid).map((sample): WatchOutcome => ({ kind: 'sample', sample })) },
  fc.string({ unit: 'binary' }).map((name): WatchOutcome => ({ kind: 'executed', pid, name })),
  fc.constant<WatchOutcome>({ kind: 'gone', pid }),
))
const anyAction = fc.constantFrom<TopAction>(
  { kind: 'move', lines: 1 }, { kind: 'move', lines: -1 }, { kind: 'page', pages: 1 }, { kind: 'page', pages: -1 }, { kind: 'edge', to: 'last' }, { kind: 'edge', to: 'first' },
  { kind: 'fold', to: 'other' }, { kind: 'fold', to: 'open' }, { kind: 'fold', to: 'closed' }, { kind: 'sort', by: 'next' }, { kind: 'sort', by: 'reversed' },
  { kind: 'interval', to: 'longer' }, { kind: 'interval', to: 'shorter' }, { kind: 'pause' }, { kind: 'help' }, { kind: 'back' },
)
const anySize = fc.record({ columns: fc.integer({ min: 1, max: 220 }), rows: fc.integer({ min: 1, max: 70 }) })

test('no line is wider than the screen and no frame higher, whatever was seen and pressed', () => {
  fc.assert(fc.property(fc.array(fc.oneof(anyOutcome, anyAction), { maxLength: 25 }), anySize, fc.boolean(), (events, size, colours) => {
    const paint = colours ? coloured : plain
    let state = initialState([1, 2, 3], 1e9)
    let frame = frameOf(state, size, paint)
    for (const event of events) {
      state = isOutcome(event) ? seen(state, event) : pressed(state, event, frame.body, frame.bodyRows)
      frame = frameOf(state, size, paint)
      state = { ...state, scroll: frame.scroll, helpScroll: frame.helpScroll }
      assert.ok(frame.lines.length <= size.rows)
      for (const line of frame.lines) {
        assert.ok(stringWidth(line) <= size.columns, JSON.stringify(line))
        assert.doesNotMatch(line.replace(/\x1b\[\d+m/g, ''), /[\p{Cc}\u202a-\u202e\u2066-\u2069]/u, 'nothing that moves the cursor or turns the text')
      }
    }
  }), { numRuns: 100 })
})

function isOutcome(event: WatchOutcome | TopAction): event is WatchOutcome {
  return ['sample', 'executed', 'gone'].includes(event.kind)
}

test('the selected line is on the screen, however one got there', () => {
  const sample = watchSample({ mappings: Array.from({ length: 200 }, (_, i) => mappingSample({ start: `0x${(0x7f0000000000 + i * 4096).toString(16).padStart(16, '0')}` })) })
  fc.assert(fc.property(fc.array(anyAction.filter(({ kind }) => kind !== 'help'), { maxLength: 40 }), fc.integer({ min: 2, max: 40 }), (actions, rows) => {
    const size = { columns: 90, rows }
    let state = seen(initialState([4242], 1e9), { kind: 'sample', sample })
    for (const action of actions) {
      const frame = frameOf(state, size, plain)
      state = pressed({ ...state, scroll: frame.scroll }, action, frame.body, frame.bodyRows)
    }
    assert.equal(frameOf(state, size, plain).lines.filter((line) => line.startsWith('>')).length, 1)
  }))
})

test('a selected mapping stays selected when the order changes, and its neighbour is when it is unmapped', () => {
  const size = { columns: 100, rows: 30 }
  const look = (state: TopState, sample = watchSample()) => seen(state, { kind: 'sample', sample })
  const selected = (state: TopState) => frameOf(state, size, plain).lines.find((line) => line.startsWith('>'))
  let state = look(initialState([4242], 1e9))
  const press = (action: TopAction) => {
    const { body, bodyRows } = frameOf(state, size, plain)
    state = pressed(state, action, body, bodyRows)
  }
  press({ kind: 'move', lines: 1 })
  assert.match(selected(state)!, /\[heap\]/)
  press({ kind: 'sort', by: 'path' })
  assert.match(selected(state)!, /\[heap\]/)
  press({ kind: 'sort', by: 'written' })
  state = look(state, watchSample({ mappings: watchSample().mappings.filter(({ path }) => path !== '[heap]') }))
  assert.match(selected(state)!, /\/dev\/shm\/jobs/)
})

test('Enter on a mapping tells its range, its counts and its blind spots in words; once more hides them', () => {
  const size = { columns: 100, rows: 40 }
  let state = seen(initialState([4242], 1e9), { kind: 'sample', sample: watchSample() })
  const press = (action: TopAction) => {
    const { body, bodyRows } = frameOf(state, size, plain)
    state = pressed(state, action, body, bodyRows)
  }
  const text = () => frameOf(state, size, plain).lines.join('\n')
  press({ kind: 'move', lines: 1 })
  press({ kind: 'move', lines: 1 })
  press({ kind: 'fold', to: 'other' })
  for (const words of ['0x00007f2000000000-0x00007f2000100000 rw-s', '256 pages resident', '! shared-writers: other processes map it too', 'followed by compare']) assert.ok(text().includes(words), words)
  press({ kind: 'move', lines: 1 })
  press({ kind: 'fold', to: 'other' })
  assert.ok(!text().includes('shared-writers:'), 'from a line of its words too')
  press({ kind: 'edge', to: 'first' })
  press({ kind: 'fold', to: 'closed' })
  assert.ok(!text().includes('[heap]'), 'a closed process has no mappings')
  assert.match(text(), /^>\+ 4242 redis-server/m)
})

test('a process that goes or executes is a line', () => {
  const executed = seen(seen(initialState([1, 2], 1e9), { kind: 'sample', sample: watchSample({ pid: 1, name: 'sh' }) }), { kind: 'executed', pid: 1, name: 'ls\x1b[2J' })
  const text = frameOf(seen(executed, { kind: 'gone', pid: 2 }), { columns: 80, rows: 20 }, plain).lines.join('\n')
  assert.match(text, /executed ls�\[2J, was sh; watched anew/)
  assert.match(text, /2 is gone/)
  assert.match(text, /1 process\b/)
})
