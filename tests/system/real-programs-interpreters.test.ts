import assert from 'node:assert/strict'
import { readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { attach, type DumpOptions } from 'tidemark'
import { countThreads, gdb } from '../support/gdb.ts'
import { findProgram, programMissing, startProgram, temporaryFolder, type RunningProgram } from '../support/programs.ts'

const DUMPS_EACH = 10
const STRATEGIES: readonly NonNullable<DumpOptions['strategy']>[] = ['auto', 'precopy', 'fork', 'stop']
/** What a timer of milliseconds may be late at most: no pause here comes near, but other work on the machine may. */
const STALL_MS_MAX = 8_000

/** Threads that compute what has a known result, and one with a timer. They say at the end of input whether all was right. */
const PYTHON = `
import hashlib, json, sys, threading, time
problems, rounds, gap, ended = [], [0, 0, 0], 0.0, False
def integers(me):
    if sum(n * n for n in range(2000)) != 2664667000: problems.append('sum')
    if pow(3, 4321, 10**9 + 7) != POWER: problems.append('power')
def floats(me):
    x = 1.0
    for _ in range(500): x = (x * 1.0000001 + 0.5) / 1.25
    if x != FLOATS: problems.append(f'floats {x!r}')
def memory(me):
    pieces = [bytes([n % 251]) * 3000 for n in range(200)]
    if hashlib.sha256(b''.join(pieces)).hexdigest() != DIGEST: problems.append('digest')
def loop(me, work):
    while not ended:
        work(me)
        rounds[me] += 1
POWER = pow(3, 4321, 10**9 + 7)
FLOATS = 1.0
for _ in range(500): FLOATS = (FLOATS * 1.0000001 + 0.5) / 1.25
DIGEST = hashlib.sha256(b''.join(bytes([n % 251]) * 3000 for n in range(200))).hexdigest()
def timer():
    global gap
    last = time.monotonic()
    while not ended:
        time.sleep(0.005)
        now = time.monotonic()
        gap, last = max(gap, now - last), now
threads = [threading.Thread(target=loop, args=(n, work)) for n, work in enumerate([integers, floats, memory])] + [threading.Thread(target=timer)]
for thread in threads: thread.start()
print('ready', flush=True)
sys.stdin.read()
ended = True
for thread in threads: thread.join()
print(json.dumps({'problems': problems[:5], 'rounds': min(rounds), 'gapMs': gap * 1000}), flush=True)
`

const NODE = `
const { createHash } = require('node:crypto')
const problems = []
let rounds = 0, gapMs = 0, last = performance.now(), kept = []
const timer = setInterval(() => {
  const now = performance.now()
  gapMs = Math.max(gapMs, now - last)
  last = now
}, 5)
const hash = () => createHash('sha256').update(Buffer.alloc(100_000, 7)).digest('hex')
const digest = hash()
function churn() {
  rounds++
  const made = Array.from({ length: 2_000 }, (_, n) => ({ n, square: n * n, text: 'item ' + n }))
  kept.push(made)
  if (kept.length > 20) kept = kept.slice(10)
  for (const list of kept) for (const item of list) if (item.square !== item.n * item.n || item.text !== 'item ' + item.n) problems.push('item ' + JSON.stringify(item))
  if (hash() !== digest) problems.push('digest')
  if (made.reduce((sum, { n }) => sum + Math.sqrt(n) ** 2, 0).toFixed(3) !== '1999000.000') problems.push('sum')
}
const churning = setInterval(churn, 2)
process.stdin.on('data', () => undefined).on('end', () => {
  clearInterval(timer)
  clearInterval(churning)
  console.log(JSON.stringify({ problems: problems.slice(0, 5), rounds, gapMs }))
})
console.log('ready')
`

interface Verdict {
  readonly problems: readonly string[]
  readonly rounds: number
  readonly gapMs: number
}

async function dumpOften(t: TestContext, program: RunningProgram, output: string): Promise<void> {
  await using target = await attach(program.pid)
  for (const strategy of STRATEGIES) {
    const pausesNs: number[] = []
    for (let i = 0; i < DUMPS_EACH; i++) {
      const result = await target.dump({ output, strategy, replace: true })
      assert.equal(result.consistency, 'proven', JSON.stringify(result.unproven))
      pausesNs.push(result.pauseNs)
    }
    t.diagnostic(`${strategy}: longest pause of ${DUMPS_EACH} ${(Math.max(...pausesNs) / 1e6).toFixed(2)} ms`)
  }
}

async function survives(t: TestContext, program: string, args: readonly string[], symbol: RegExp): Promise<void> {
  const folder = temporaryFolder(t)
  const output = join(folder, 'last.core')
  const running = startProgram(t, program, args, { folder })
  await running.says('ready\n')
  // What runs may be another file than what was started: python3 is often a script that chooses one.
  const executable = readlinkSync(`/proc/${running.pid}/exe`)
  await dumpOften(t, running, output)
  const text = await gdb(executable, output, ['thread apply all bt', 'info threads'])
  assert.match(text, symbol, text)
  assert.ok(countThreads(text) >= 4, text)
  assert.equal(await running.finish(), 0, running.stderr)
  const verdict = JSON.parse(running.stdout.replace('ready\n', '')) as Verdict
  assert.deepEqual(verdict.problems, [])
  assert.equal(running.stderr, '')
  assert.ok(verdict.rounds > 0)
  assert.ok(verdict.gapMs < STALL_MS_MAX, `a timer stalled for ${verdict.gapMs} ms`)
  t.diagnostic(`longest gap of a 5 ms timer: ${verdict.gapMs.toFixed(1)} ms, over ${verdict.rounds} rounds`)
}

test(`a Python program with threads computes right through ${DUMPS_EACH} dumps of each strategy`, { skip: programMissing('python3', 'gdb'), timeout: 120_000 }, async (t) => {
  await survives(t, findProgram('python3') ?? 'python3', ['-c', PYTHON], /__futex_abstimed_wait|pthread_cond|sem_|clock_nanosleep|select/)
})

test(`a Node program keeps its timers and its heap through ${DUMPS_EACH} dumps of each strategy`, { skip: programMissing('gdb'), timeout: 120_000 }, async (t) => {
  await survives(t, process.execPath, ['-e', NODE], /uv_run|epoll_wait|epoll_pwait|node::Start/)
})
