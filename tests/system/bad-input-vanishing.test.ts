// Targets that end or become another program while they are saved. Whatever the moment: one line, no half file, no crash.
import assert from 'node:assert/strict'
import { existsSync, rmSync } from 'node:fs'
import { test, type TestContext } from 'node:test'
import { dump, isTidemarkError } from 'tidemark'
import { freshSeed, assertRefused, Scratch, seeded, sleep, startCli } from '../support/cli.ts'
import { skipTargets, Target, tracerPidOf } from '../support/fixtures.ts'
import { untilTaskState } from '../support/task-state.ts'

const STRATEGIES = ['stop', 'fork', 'precopy', 'auto'] as const
const ROUNDS = 40
/** Of a dump of these targets, which takes about this long. */
const SPREAD_US = 250_000

interface Tally { saved: number; gone: number }

/** Either the core is whole or there is none, and then the error says that the process is gone. */
async function dumpWhile(t: TestContext, verb: 'exit' | 'exec'): Promise<Tally> {
  const seed = freshSeed()
  t.diagnostic(`seed ${seed}`)
  const random = seeded(seed)
  using scratch = new Scratch()
  const tally: Tally = { saved: 0, gone: 0 }
  for (let i = 0; i < ROUNDS; i++) {
    await using target = await Target.start({ mib: 16 })
    const strategy = STRATEGIES[i % STRATEGIES.length]!
    const output = scratch.file(`${i}.core`)
    const delayUs = random(SPREAD_US)
    const again = verb === 'exec' ? target.hear('ready') : undefined
    const story = `seed ${seed}, ${strategy}, ${verb} after ${delayUs} µs`
    const outcome = dump(target.pid, { output, strategy, onEvent: (event) => { if (event.kind === 'phase' && event.phase === 'rehearsing') target.say(`${verb} ${delayUs}`) } })
    try {
      await outcome
      tally.saved++
      assert.ok(existsSync(output), story)
    } catch (error) {
      assert.ok(isTidemarkError(error), `${story}: ${error instanceof Error ? error.stack : String(error)}`)
      assert.equal(error.code, 'gone', `${story}: ${error.message}`)
      assert.equal(error.pid, target.pid, story)
      assert.ok(!existsSync(output), story)
      tally.gone++
    }
    rmSync(output, { force: true })
    scratch.assertHolds()
    if (verb === 'exit') assert.equal(await target.exit(), 0, `${story}: it ends with the code it chose`)
    else {
      await again
      assert.equal(tracerPidOf(target.pid), 0, story)
      const { writes } = await target.beat()
      await sleep(5)
      assert.ok((await target.beat()).writes > writes, `${story}: the new program runs`)
    }
  }
  t.diagnostic(`${tally.saved} saved before, ${tally.gone} gone`)
  return tally
}

test('a process that ends in the middle is gone or was saved, and ends with its own code', { skip: skipTargets }, async (t) => {
  const { gone } = await dumpWhile(t, 'exit')
  assert.ok(gone > 0, 'some must have ended in the middle')
})

test('a process that executes another program in the middle is gone or was saved, and the new program runs', { skip: skipTargets }, async (t) => {
  const { gone } = await dumpWhile(t, 'exec')
  assert.ok(gone > 0, 'some must have executed in the middle')
})

test('a process killed at any moment of a dump is one line and exit code 5', { skip: skipTargets }, async (t) => {
  const seed = freshSeed()
  t.diagnostic(`seed ${seed}`)
  const random = seeded(seed)
  using scratch = new Scratch()
  for (let i = 0; i < 8; i++) {
    const target = await Target.start({ mib: 128 })
    const running = startCli(['dump', String(target.pid), '--strategy', STRATEGIES[i % STRATEGIES.length]!, '-o', scratch.file('x.core')])
    await sleep(150 + random(200))
    await target[Symbol.asyncDispose]()
    const result = await running.done
    if (result.code !== 0 && result.code !== 6) assertRefused(result, 5, /gone|ended|no process|killed/)
    assert.equal(existsSync(scratch.file('x.core')), result.code === 0 || result.code === 6)
    rmSync(scratch.file('x.core'), { force: true })
    scratch.assertHolds()
  }
})

test('a stopped process (Ctrl-Z) that is killed while we look at it is gone', { skip: skipTargets }, async () => {
  using scratch = new Scratch()
  for (const afterMs of [150, 200, 260]) {
    const target = await Target.start({ mib: 128 })
    process.kill(target.pid, 'SIGSTOP')
    await untilTaskState(target.pid, ({ threads }) => threads.every(({ state }) => state === 'T'))
    const running = startCli(['dump', String(target.pid), '-o', scratch.file('x.core')])
    await sleep(afterMs)
    await target[Symbol.asyncDispose]()
    const result = await running.done
    if (result.code === 0) rmSync(scratch.file('x.core'))
    else assertRefused(result, 5, /gone|ended|no process|killed/)
    scratch.assertHolds()
  }
})
