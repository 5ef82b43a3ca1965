// The library in a program of its own: what it says while it works, how it gives up, and what it leaves in that program.
import assert from 'node:assert/strict'
import { existsSync, rmSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { attach, dump, isTidemarkError, type DumpEvent, type ErrorCode } from 'tidemark'
import { Scratch, sleep } from '../support/cli.ts'
import { skipTargets, Target } from '../support/fixtures.ts'
import { readTaskState } from '../support/task-state.ts'

const STRATEGIES = ['stop', 'fork', 'precopy', 'auto'] as const

function isCode(code: ErrorCode, pid?: number): (error: unknown) => boolean {
  return (error) => {
    assert.ok(isTidemarkError(error), error instanceof Error ? error.stack : String(error))
    assert.ok(error instanceof Error)
    assert.equal(error.code, code, error.message)
    if (pid !== undefined) assert.equal(error.pid, pid)
    return true
  }
}

describe('one target', { skip: skipTargets }, () => {
  let target: Target
  before(async () => { target = await Target.start({ mib: 64 }) })
  after(async () => { await target[Symbol.asyncDispose]() })

  test('attached, it can be described, read and dumped, several times, and is stopped by none but the dump', async () => {
    using scratch = new Scratch()
    await using attached = await attach(target.pid)
    const { pid, name, commandLine, threads, mappings } = await attached.describe()
    assert.deepEqual([pid, name], [target.pid, 'target'])
    assert.match(commandLine, /target 64 2$/)
    assert.deepEqual(threads.toSorted(), readTaskState(pid).threads.map(({ tid }) => tid).toSorted())
    assert.deepEqual(mappings.map(({ start }) => start.length), mappings.map(() => 18))
    const program = mappings.find(({ path }) => path.endsWith('/target'))!
    assert.deepEqual([...await attached.read(BigInt(program.start), 4)], [0x7f, 0x45, 0x4c, 0x46])
    assert.equal((await attached.read(0n, 16)).length, 0, 'there is no memory')
    for (let i = 0; i < 2; i++) {
      const result = await attached.dump({ output: scratch.file('x.core'), replace: i > 0 })
      assert.equal(result.pid, target.pid)
      assert.ok(existsSync(result.file))
    }
    assert.equal((await attached.describe()).pid, target.pid)
    await target.assertUnharmed()
  })

  test('a request that fails leaves the session usable', async () => {
    using scratch = new Scratch()
    await using attached = await attach(target.pid)
    await assert.rejects(attached.dump({ output: '/nonexistent/x.core' }), isCode('failed'))
    await assert.rejects(attached.read(0n, -1), isCode('usage'))
    await assert.rejects(attached.read(0n, 2 ** 40), isCode('usage'))
    await attached.dump({ output: scratch.file('x.core') })
    await target.assertUnharmed()
  })

  test('after its scope a session answers with an error', async () => {
    const attached = await attach(target.pid)
    await attached[Symbol.asyncDispose]()
    await assert.rejects(attached.describe(), isCode('failed'))
    await attached[Symbol.asyncDispose]()
  })

  test('errors keep code, pid, errno and hint on their way out of the engine', async () => {
    using scratch = new Scratch()
    const output = scratch.file('x.core')
    const nobody = 0x3f_ffff // Above any pid_max.
    const thread = readTaskState(target.pid).threads.find(({ tid }) => tid !== target.pid)!.tid
    await assert.rejects(dump(nobody, { output }), isCode('gone', nobody))
    await assert.rejects(attach(nobody), isCode('gone', nobody))
    await assert.rejects(dump(thread, { output }), (error) => isCode('usage', thread)(error) && isTidemarkError(error) && error.hint === `use ${target.pid}`)
    await assert.rejects(dump(target.pid, { output: '/nonexistent/x.core' }), (error) => isCode('failed')(error) && isTidemarkError(error) && error.errno === 'ENOENT')
    scratch.assertHolds()
  })

  test('a signal that fired before is an abort before anything was done', async () => {
    using scratch = new Scratch()
    const events: DumpEvent[] = []
    const options = { output: scratch.file('x.core'), signal: AbortSignal.abort(), onEvent: (event: DumpEvent) => void events.push(event) }
    await assert.rejects(dump(target.pid, options), isCode('aborted'))
    assert.deepEqual(events, [])
    scratch.assertHolds()
  })

  for (const strategy of STRATEGIES) {
    test(`${strategy}: a signal at any event is an abort or comes too late; no file, no harm`, async (t) => {
      using scratch = new Scratch()
      let aborted = 0
      for (let nth = 1; nth <= 7; nth++) {
        const controller = new AbortController()
        let seen = 0
        const options = { output: scratch.file('x.core'), strategy, signal: controller.signal, onEvent: () => { if (++seen === nth) controller.abort() } }
        const error = await dump(target.pid, options).then(() => undefined, (reason: unknown) => reason)
        if (error !== undefined) assert.ok(isCode('aborted')(error))
        if (error !== undefined) aborted++
        assert.equal(existsSync(scratch.file('x.core')), error === undefined)
        rmSync(scratch.file('x.core'), { force: true })
        scratch.assertHolds()
        await target.assertUnharmed()
      }
      t.diagnostic(`${aborted} of 7 aborted`)
      assert.ok(aborted > 0)
    })

    test(`${strategy}: events come in order`, async () => {
      using scratch = new Scratch()
      const events: DumpEvent[] = []
      const result = await dump(target.pid, { output: scratch.file('x.core'), strategy, onEvent: (event) => void events.push(event) })
      assertOrder(events, result.strategy, result.roundPages)
    })
  }
})

function assertOrder(events: readonly DumpEvent[], strategy: string, roundPages: readonly number[]): void {
  const phases = events.flatMap((event) => (event.kind === 'phase' ? [event.phase] : []))
  const order = ['rehearsing', 'arming', 'measuring', 'pausing', 'finishing']
  assert.deepEqual(phases, phases.toSorted((a, b) => order.indexOf(a) - order.indexOf(b)), phases.join(' '))
  assert.equal(new Set(phases).size, phases.length, `each once: ${phases.join(' ')}`)
  assert.ok(phases.includes('pausing'))
  assert.equal(phases.at(-1), 'finishing')
  const rounds = events.flatMap((event) => (event.kind === 'round' ? [event] : []))
  assert.deepEqual(rounds.map(({ round }) => round), rounds.map((_, i) => i + 1))
  if (strategy === 'precopy') assert.deepEqual([...rounds.map(({ pages }) => pages), roundPages.at(-1)], roundPages)
  const pausingAt = events.findIndex((event) => event.kind === 'phase' && event.phase === 'pausing')
  assert.ok(events.slice(pausingAt).every(({ kind }) => kind !== 'round'), 'rounds come before the pause')
  const saved = events.flatMap((event) => (event.kind === 'progress' ? [event.savedPages] : []))
  assert.deepEqual(saved, saved.toSorted((a, b) => a - b))
}

test('two targets are dumped at once', { skip: skipTargets }, async () => {
  using scratch = new Scratch()
  await using first = await Target.start({ mib: 32 })
  await using second = await Target.start({ mib: 32 })
  for (const strategy of STRATEGIES) {
    const results = await Promise.all([first, second].map((target) => dump(target.pid, { output: scratch.file(`${target.pid}.core`), replace: true, strategy })))
    assert.deepEqual(results.map(({ pid }) => pid), [first.pid, second.pid])
  }
  await first.assertUnharmed()
  await second.assertUnharmed()
})

test('two dumps of one target at once: each is whole or says why not, and neither harms', { skip: skipTargets }, async (t) => {
  using scratch = new Scratch()
  await using target = await Target.start({ mib: 64 })
  const told: string[] = []
  for (const [i, strategy] of [...STRATEGIES, ...STRATEGIES, ...STRATEGIES].entries()) {
    const other = STRATEGIES[(i + Math.floor(i / 4)) % 4]!
    const outcomes = await Promise.allSettled([
      dump(target.pid, { output: scratch.file('a.core'), replace: true, strategy }),
      sleep(10 * (i % 3)).then(() => dump(target.pid, { output: scratch.file('b.core'), replace: true, strategy: other })),
    ])
    for (const outcome of outcomes) {
      if (outcome.status === 'fulfilled') continue
      const error: unknown = outcome.reason
      assert.ok(isTidemarkError(error), `${strategy} and ${other}: ${error instanceof Error ? error.stack : String(error)}`)
      assert.equal(error.code, 'not-permitted', `${strategy} and ${other}: ${error.message}`)
      assert.match(error.message, /already traced by process \d+|another process did so/)
      told.push(`${strategy}/${other}`)
    }
    assert.ok(outcomes.some(({ status }) => status === 'fulfilled'), `${strategy} and ${other}: one must succeed`)
    await target.assertUnharmed()
  }
  t.diagnostic(`refused: ${told.join(' ') || 'none'}`)
})

