// Promise 1: whatever happens to us, the target runs on as if we had not been there.
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { decodeCore } from 'tidemark'
import { checkoutRoot, guestsUnavailable, startGuest } from '../support/guest.ts'
import { seededRandom } from '../support/random.ts'
import { leftBehind, readTaskState, untilTaskState, type TaskState } from '../support/task-state.ts'

/** TIDEMARK_KILLS=1000 kills more often. */
const KILLS = Number(process.env['TIDEMARK_KILLS'] ?? 100)

const folder = mkdtempSync(join(tmpdir(), 'tidemark-kill-'))
after(() => rmSync(folder, { recursive: true }))
const skip = guestsUnavailable()
const STRATEGIES = ['stop', 'fork', 'precopy'] as const

/** Waits until nothing of ours is left: the kernel undoes the work of a killed tracer when its last thread ends. */
async function assertUnharmed(pid: number, before: TaskState, what: string): Promise<void> {
  try {
    await untilTaskState(pid, (now) => leftBehind(before, now).length === 0, 3000)
  } catch {
    assert.fail(`${what}: ${leftBehind(before, readTaskState(pid)).join('; ')}`)
  }
}

for (const strategy of STRATEGIES) {
  test(`${strategy}: killed before any one of its operations, it leaves the target unharmed`, { skip }, async (t) => {
    await using guest = await startGuest('wavefront', ['2', '64'])
    const before = readTaskState(guest.pid)
    const runner = join(checkoutRoot(), 'build/tests/support/kill-at.js')
    let operations = 0
    for (let n = 1; operations === 0; n++) {
      const run = spawnSync(process.execPath, [runner, `${guest.pid}`, strategy, `${n}`], { encoding: 'utf8', timeout: 20_000 })
      if (run.status === 0) operations = Number(run.stdout)
      else assert.equal(run.signal, 'SIGKILL', run.stderr)
      await assertUnharmed(guest.pid, before, `killed before operation ${n}`)
      assert.ok(n < 2000, 'the snapshot comes to an end')
    }
    t.diagnostic(`${operations} operations`)
    const verdict = await guest.finish()
    assert.equal(verdict.kind, 'ok', JSON.stringify(verdict))
  })
}

function isWholeCore(path: string): boolean {
  const bytes = readFileSync(path)
  return decodeCore({ bytes: bytes.length, read: (offset, length) => bytes.subarray(offset, offset + length) }).threads.length > 0
}

/** How long a dump takes here and now, in milliseconds. */
async function timeOf(pid: number): Promise<number> {
  const start = performance.now()
  const tool = spawn(process.execPath, ['dist/cli/main.js', 'dump', `${pid}`, '-o', join(folder, 'time.core')], { cwd: checkoutRoot(), stdio: 'ignore' })
  await once(tool, 'exit')
  rmSync(join(folder, 'time.core'))
  return performance.now() - start
}

test(`${KILLS} dumps killed at random moments harm neither a busy process nor the folder`, { skip }, async (t) => {
  const random = seededRandom(t)
  await using guest = await startGuest('wavefront', ['4', '2048'])
  const before = readTaskState(guest.pid)
  const wholeMs = await timeOf(guest.pid)
  let killed = 0
  for (let i = 0; i < KILLS; i++) {
    const args = ['dist/cli/main.js', 'dump', `${guest.pid}`, '-o', join(folder, `${i}.core`), '--strategy', random.pick([...STRATEGIES, 'auto'])]
    const tool = spawn(process.execPath, args, { cwd: checkoutRoot(), stdio: 'ignore' })
    const exit = once(tool, 'exit')
    // The first third is starting: most are to die at work on the target, a few not at all.
    const timer = setTimeout(() => tool.kill('SIGKILL'), random.between(wholeMs / 4, wholeMs * 1.1))
    const [, signal] = await exit as [number | null, NodeJS.Signals | null]
    clearTimeout(timer)
    // One that dies after it has named its file has left a whole one.
    if (signal === 'SIGKILL') killed++
    else rmSync(join(folder, `${i}.core`), { force: true })
    await assertUnharmed(guest.pid, before, `run ${i}`)
  }
  assert.deepEqual(readdirSync(folder).filter((name) => name.endsWith('.partial') || !isWholeCore(join(folder, name))), [])
  t.diagnostic(`${killed} of ${KILLS} were killed before they had finished`)
  const verdict = await guest.finish()
  assert.equal(verdict.kind, 'ok', JSON.stringify(verdict))
})
