import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { Capabilities } from '../index.ts'
import { formatFindings, verdictOf } from './check.ts'
import { formatTable, painter, visibleWidth, wrapText } from './table.ts'

const PROGRAM = fileURLToPath(new URL('./main.js', import.meta.url))
const plain = painter({ isTTY: false })

function run(...args: string[]) {
  return spawnSync(process.execPath, [PROGRAM, 'check', ...args], { encoding: 'utf8', env: { ...process.env, NODE_OPTIONS: '' } })
}

function findings(strategy: Partial<Capabilities['strategies'][number]> = {}): Capabilities {
  return {
    kernel: '6.18.0', machine: 'x86_64', pageBytes: 16384, user: 'somebody',
    capabilities: [
      { name: 'ptrace', group: 'tracing', title: 'Stop a process', available: true, detail: '', remedy: '' },
      { name: 'urgent', group: 'tracing', title: 'Be urgent', available: false, detail: 'EPERM', remedy: 'costs little; run as root' },
      { name: 'userfaultfd-feature-move', group: 'tracking', title: 'userfaultfd feature MOVE', available: true, detail: '', remedy: '' },
      { name: 'userfaultfd-feature-rwp', group: 'tracking', title: 'userfaultfd feature RWP', available: false, detail: 'this kernel does not have it', remedy: 'reads go unseen; needs Linux 7.3' },
    ],
    trackers: [{ tracker: 'compare', available: true, obstacle: 'none', why: '', remedy: '' }],
    strategies: [{ strategy: 'stop', available: true, obstacle: 'none', why: '', remedy: '', ...strategy }],
  }
}

test('--json prints one object with its schema and nothing else', () => {
  const { stdout, stderr, status } = run('--json')
  assert.equal(stdout.trimEnd().split('\n').length, 1)
  const { schema, ...found } = JSON.parse(stdout) as Capabilities & { schema: string }
  assert.equal(schema, 'tidemark.check/1')
  assert.deepEqual(Object.keys(found), ['kernel', 'machine', 'pageBytes', 'user', 'capabilities', 'trackers', 'strategies'])
  for (const one of found.capabilities) assert.deepEqual(Object.keys(one), ['name', 'group', 'title', 'available', 'detail', 'remedy'])
  for (const one of found.trackers) assert.deepEqual(Object.keys(one), ['tracker', 'available', 'obstacle', 'why', 'remedy'])
  for (const one of found.strategies) assert.deepEqual(Object.keys(one), ['strategy', 'available', 'obstacle', 'why', 'remedy'])
  assert.equal(status, verdictOf(found).exitCode)
  assert.equal(stderr === '', status === 0)
})

test('the table names every group and strategy, without escape codes in a pipe', () => {
  const { stdout } = run()
  for (const heading of ['Tracing', 'Tracking of writes', 'Reading', 'Memory of this machine', 'Strategies of dump']) assert.ok(stdout.includes(`\n${heading}\n`), heading)
  for (const strategy of ['stop', 'fork', 'precopy']) assert.match(stdout, new RegExp(`^  (yes|no )  ${strategy}\\b`, 'm'))
  assert.doesNotMatch(stdout, /\x1b/)
})

test('exit codes: 0 when stop works, 3 when it is forbidden, 4 when the kernel cannot', () => {
  assert.equal(verdictOf(findings()).exitCode, 0)
  assert.equal(verdictOf(findings({ available: false, obstacle: 'not-permitted' })).exitCode, 3)
  assert.equal(verdictOf(findings({ available: false, obstacle: 'unsupported' })).exitCode, 4)
  assert.equal(verdictOf(findings({ available: false, obstacle: 'failed' })).exitCode, 1)
})

test('what is missing is followed by its remedy, and features share a line', () => {
  const lines = formatFindings(findings({ why: 'only your own', remedy: 'run as root' }), plain, 60)
  assert.equal(lines[0], 'Linux 6.18.0 on x86_64, 16 KiB pages, as somebody')
  const text = lines.join('\n')
  assert.match(text, /  yes  Stop a process\n  no   Be urgent       EPERM\n         costs little; run as root\n/)
  assert.match(text, /  yes  userfaultfd features  1 of 2\n         without RWP reads go unseen; needs Linux 7\.3/)
  assert.match(text, /  yes  stop  only your own\n         run as root$/)
})

test('colours only on a terminal, and not against NO_COLOR', () => {
  assert.equal(painter({ isTTY: true }, {})('red', 'x'), '\x1b[31mx\x1b[0m')
  assert.equal(painter({ isTTY: true }, { NO_COLOR: '1' })('red', 'x'), 'x')
  assert.equal(painter({ isTTY: true }, { TERM: 'dumb' })('red', 'x'), 'x')
  assert.equal(painter({ isTTY: false }, {})('red', 'x'), 'x')
})

test('columns line up whatever their colours, and end without blanks', () => {
  const red = painter({ isTTY: true }, {})('red', 'no')
  assert.equal(visibleWidth(red), 2)
  assert.deepEqual(formatTable([['yes', 'a', ''], [red, 'bcd', 'e']]), ['yes  a', `${red}   bcd  e`])
  assert.deepEqual(formatTable([['1', 'x'], ['10', 'y']], ['right']), [' 1  x', '10  y'])
})

test('text is wrapped at blanks and indented', () => {
  assert.deepEqual(wrapText('one two three', 9, '  '), ['  one two', '  three'])
})
