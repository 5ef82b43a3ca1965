// Ctrl-C and its kin at random moments: the exit code tells which, one line, no file unless it had finished, an unharmed target.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { after, before, describe, test, type TestContext } from 'node:test'
import { assertNoCrash, assertOneLine, type CliResult, freshSeed, Scratch, seeded, sleep, startCli } from '../support/cli.ts'
import { skipTargets, skipWithout, Target } from '../support/fixtures.ts'

const STRATEGIES = ['stop', 'fork', 'precopy', 'auto'] as const
/** Node's own start; a signal before it ends kills a program that has not yet said what it does with signals. */
const START_MS = 40
const SPREAD_MS = 500

describe('an interrupted dump', { skip: skipTargets }, () => {
  let target: Target
  before(async () => { target = await Target.start({ mib: 64, threads: 3 }) })
  after(async () => { await target[Symbol.asyncDispose]() })

  async function interrupt(scratch: Scratch, strategy: string, delayMs: number, ...signals: readonly NodeJS.Signals[]): Promise<CliResult> {
    const running = startCli(['dump', String(target.pid), '--strategy', strategy, '-o', scratch.file('x.core')], { withinMs: 20_000 })
    await sleep(delayMs)
    for (const signal of signals) running.child.kill(signal)
    return await running.done
  }

  function assertOrderly(result: CliResult, signal: NodeJS.Signals, exitCode: number, scratch: Scratch, story: string): void {
    assertNoCrash(result.stderr)
    if (result.code === 0) assert.ok(existsSync(scratch.file('x.core')), story)
    else if (result.code === signal) assert.equal(result.stderr, '', story)
    else {
      assert.equal(result.code, exitCode, `${story}: ${result.stderr}`)
      assertOneLine(result)
      assert.match(result.stderr, /interrupted.*target runs on/, story)
    }
    if (result.code !== 0) assert.equal(result.stdout.length, 0, story)
    if (result.code === 0) rmSync(scratch.file('x.core'))
    scratch.assertHolds()
  }

  async function manyTimes(t: TestContext, signal: NodeJS.Signals, exitCode: number): Promise<void> {
    const seed = freshSeed()
    const random = seeded(seed)
    using scratch = new Scratch()
    const counts = new Map<string, number>()
    for (let i = 0; i < 32; i++) {
      const strategy = STRATEGIES[i % STRATEGIES.length]!
      const delayMs = START_MS + random(SPREAD_MS)
      const result = await interrupt(scratch, strategy, delayMs, signal)
      assertOrderly(result, signal, exitCode, scratch, `seed ${seed}, ${strategy}, ${signal} after ${delayMs} ms`)
      counts.set(String(result.code), (counts.get(String(result.code)) ?? 0) + 1)
      await target.assertUnharmed()
    }
    t.diagnostic(`seed ${seed}: ${[...counts].map(([code, count]) => `${count} × ${code}`).join(', ')}`)
    assert.ok((counts.get(String(exitCode)) ?? 0) > 0, 'some must have been interrupted')
  }

  test('SIGINT at any moment is 130, one line and no file', (t) => manyTimes(t, 'SIGINT', 130))
  test('SIGTERM at any moment is 143, one line and no file', (t) => manyTimes(t, 'SIGTERM', 143))

  test('a second SIGINT at once ends it too, and harms nobody', async () => {
    using scratch = new Scratch()
    for (const [i, strategy] of [...STRATEGIES, ...STRATEGIES].entries()) {
      const result = await interrupt(scratch, strategy, 170 + 30 * i, 'SIGINT', 'SIGINT')
      assertNoCrash(result.stderr)
      assert.ok([0, 130, 'SIGINT'].includes(result.code as number), `${strategy}: ${result.code} ${result.stderr}`)
      scratch.assertHolds(...(existsSync(scratch.file('x.core')) ? ['x.core'] : []))
      if (result.code !== 0) scratch.assertHolds()
      rmSync(scratch.file('x.core'), { force: true })
      await target.assertUnharmed()
    }
  })

  test('SIGHUP, SIGQUIT and SIGKILL leave no file and an unharmed target', async () => {
    using scratch = new Scratch()
    for (const signal of ['SIGHUP', 'SIGQUIT', 'SIGKILL'] as const) {
      for (const [i, strategy] of STRATEGIES.entries()) {
        const { code, stderr } = await interrupt(scratch, strategy, 180 + 25 * i, signal)
        assertNoCrash(stderr)
        assert.equal(existsSync(scratch.file('x.core')), code === 0, `${signal}: ${code}`)
        rmSync(scratch.file('x.core'), { force: true })
        scratch.assertHolds()
        await target.assertUnharmed()
      }
    }
  })

  test('the tool killed leaves no process of its own, not even one that waits for a pipe', { skip: skipWithout('mkfifo') }, async () => {
    using scratch = new Scratch()
    const ours = scratch.file('x.core')
    const pipe = scratch.file('pipe')
    assert.equal(spawnSync('mkfifo', [pipe]).status, 0)
    for (const [strategy, output, delayMs] of [['stop', ours, 200], ['fork', ours, 240], ['precopy', ours, 280], ['auto', pipe, 3_000]] as const) {
      const running = startCli(['dump', String(target.pid), '--strategy', strategy, '-o', output])
      await sleep(delayMs)
      const mine = childrenOf(running.pid)
      const gone = once(running.child, 'exit') // Not 'close': a survivor would hold its stderr open.
      running.child.kill('SIGKILL')
      await gone
      if (output === pipe) assert.equal(mine.length, 1, 'one engine')
      for (let wait = 1; wait < 1_000 && mine.some((pid) => existsSync(`/proc/${pid}/fd/0`)); wait *= 2) await sleep(wait)
      const survivors = mine.filter((pid) => existsSync(`/proc/${pid}/fd/0`))
      for (const pid of survivors) process.kill(pid, 'SIGKILL')
      assert.deepEqual(survivors, [], strategy)
      rmSync(ours, { force: true })
    }
    await target.assertUnharmed()
  })

  test('SIGPIPE is nothing to it', async () => {
    using scratch = new Scratch()
    const { code, stderr } = await interrupt(scratch, 'precopy', 200, 'SIGPIPE')
    assert.equal(code, 0, stderr)
    scratch.assertHolds('x.core')
    await target.assertUnharmed()
  })

  test('a signal says no file was left only where it was, and finished dumps say so', async () => {
    using scratch = new Scratch()
    for (let delayMs = 260; delayMs < 420; delayMs += 20) {
      const { code, stderr } = await interrupt(scratch, 'stop', delayMs, 'SIGINT')
      assert.equal(existsSync(scratch.file('x.core')), code === 0, `after ${delayMs} ms: ${code} ${stderr}`)
      if (code === 0) assert.match(stderr, /^Saved process/)
      rmSync(scratch.file('x.core'), { force: true })
    }
    await target.assertUnharmed()
  })
})

function childrenOf(parent: number): number[] {
  return readdirSync('/proc').map(Number).filter((pid) => {
    try {
      return Number.isInteger(pid) && Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) === parent
    } catch {
      return false
    }
  })
}
