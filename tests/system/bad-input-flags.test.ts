// Words that make no sense, and promises that cannot be kept: said before the target is touched.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { dump, isTidemarkError } from 'tidemark'
import { assertRefused, runCli, Scratch } from '../support/cli.ts'
import { skipTargets, Target } from '../support/fixtures.ts'

/** Each with what its line must name. Every option of `dump` that takes a value is here. */
const NONSENSE: readonly (readonly [words: readonly string[], says: RegExp])[] = [
  [['--output'], /--output.*argument missing/],
  [['--strategy'], /--strategy.*argument missing/],
  [['--strategy', 'bogus'], /--strategy.*auto, stop, fork, precopy/],
  [['--strategy', ''], /--strategy/],
  [['--max-pause', '0'], /--max-pause.*(least|stops the target)/],
  [['--max-pause', '0ms'], /--max-pause/],
  [['--max-pause', '-5ms'], /--max-pause/],
  [['--max-pause', '5'], /--max-pause.*unit/],
  [['--max-pause', '5 parsecs'], /--max-pause.*unit/],
  [['--max-pause', 'NaN'], /--max-pause/],
  [['--max-pause', '1e3ms'], /--max-pause/],
  [['--on-pause-exceeded', 'panic'], /--on-pause-exceeded.*abort, proceed/],
  [['--rounds', '0'], /--rounds.*whole number/],
  [['--rounds', '1.5'], /--rounds/],
  [['--rounds', '-1'], /--rounds/],
  [['--rounds', '99999999999999999999'], /--rounds/],
  [['--filter', 'xyz'], /--filter.*hexadecimal/],
  [['--filter', '-1'], /--filter/],
  [['--filter', '123456789'], /--filter/],
  [['--freeze-timeout', 'soon'], /--freeze-timeout.*unit/],
  [['--freeze-timeout', '0'], /--freeze-timeout/],
  [['--timeout', 'never'], /--timeout.*unit/],
  [['--timeout', '0s'], /--timeout/],
  [['--tree'], /--tree is reserved/],
  [['--no-such-thing'], /unknown option '--no-such-thing'/],
  [['--json=yes'], /--json/],
  [['-z'], /unknown option '-z'/],
  [['another'], /too many arguments/],
]

const NO_PID = ['0', '-1', 'x', '', '1.5', '4194304', '99999999999', '0x10', '1 2', 'self']

describe('nonsense', { skip: skipTargets }, () => {
  let target: Target
  before(async () => { target = await Target.start({ mib: 4 }) })
  after(async () => { await target[Symbol.asyncDispose]() })

  for (const [words, says] of NONSENSE) {
    test(`"dump PID ${words.join(' ')}" is exit code 2 and one line`, async () => {
      using scratch = new Scratch()
      assertRefused(await runCli(['dump', String(target.pid), ...words], { cwd: scratch.path }), 2, says)
      scratch.assertHolds()
    })
  }

  test('what is no pid is exit code 2 and one line', async () => {
    using scratch = new Scratch()
    for (const pid of NO_PID) {
      assertRefused(await runCli(['dump', '--', pid], { cwd: scratch.path }), 2, /pid/)
    }
    assertRefused(await runCli(['dump'], { cwd: scratch.path }), 2, /missing.*pid/)
    scratch.assertHolds()
  })

  test('unknown commands and shells are exit code 2 and one line', async () => {
    assertRefused(await runCli(['bogus']), 2, /unknown command 'bogus'/)
    assertRefused(await runCli(['--bogus']), 2, /unknown option '--bogus'/)
    assertRefused(await runCli(['completion', 'tcsh']), 2, /bash, zsh, fish/)
    assertRefused(await runCli(['completion']), 2, /missing.*shell/)
    assertRefused(await runCli(['check', '--bogus']), 2, /unknown option/)
    assertRefused(await runCli(['check', 'extra']), 2, /too many arguments/)
  })

  test('nothing of this has touched the target', () => target.assertUnharmed())
})

describe('a limit of the pause', { skip: skipTargets }, () => {
  let target: Target
  before(async () => { target = await Target.start({ mib: 64 }) })
  after(async () => { await target[Symbol.asyncDispose]() })

  for (const strategy of ['auto', 'stop', 'fork', 'precopy']) {
    test(`that ${strategy} cannot keep is exit code 7 before the target is stopped, without a file`, async () => {
      using scratch = new Scratch()
      const result = await runCli(['dump', String(target.pid), '--strategy', strategy, '--max-pause', '1us', '-o', scratch.file('x.core')])
      assertRefused(result, 7, /the target was not stopped \(.*--on-pause-exceeded proceed.*\)/)
      assert.doesNotMatch(result.stderr, /\b0(\.0)? ms\b/, 'a limit of 1 µs is not called 0 ms')
      scratch.assertHolds()
      await target.assertUnharmed()
    })

    test(`that ${strategy} cannot keep is a file and exit code 7 when it may proceed`, async () => {
      using scratch = new Scratch()
      const result = await runCli(['dump', String(target.pid), '--strategy', strategy, '--max-pause', '1us', '--on-pause-exceeded', 'proceed', '-o', scratch.file('x.core'), '--json'])
      assert.equal(result.code, 7, result.stderr)
      scratch.assertHolds('x.core')
      const { pauseNs, pauseExceeded, warnings } = JSON.parse(result.stdout.toString()) as { pauseNs: number; pauseExceeded: boolean; warnings: string[] }
      assert.ok(pauseNs > 1_000)
      assert.equal(pauseExceeded, true)
      assert.ok(warnings.some((warning) => warning.includes('pause')))
      await target.assertUnharmed()
    })
  }

  test('that is wide is kept, and is exit code 0', async () => {
    using scratch = new Scratch()
    const result = await runCli(['dump', String(target.pid), '--max-pause', '5s', '-o', scratch.file('x.core')])
    assert.equal(result.code, 0, result.stderr)
    scratch.assertHolds('x.core')
  })

  test('--timeout is 124, one line and no file, whatever it was doing', async () => {
    for (const strategy of ['stop', 'fork', 'precopy', 'auto']) {
      for (const timeout of ['1ms', '60ms', '120ms']) {
        using scratch = new Scratch()
        const result = await runCli(['dump', String(target.pid), '--strategy', strategy, '--timeout', timeout, '-o', scratch.file('x.core')])
        assertRefused(result, 124, /timed out.*--timeout/)
        scratch.assertHolds()
      }
    }
    await target.assertUnharmed()
  })

  test('the library refuses nonsense with code usage', async () => {
    using scratch = new Scratch()
    const output = scratch.file('x.core')
    const refused = (promise: Promise<unknown>) => assert.rejects(promise, (error) => isTidemarkError(error) && error.code === 'usage')
    for (const pid of [0, -1, 1.5, NaN, Infinity]) await refused(dump(pid, { output }))
    for (const pauseNsMax of [0, -1, NaN]) await refused(dump(target.pid, { output, pauseNsMax }))
    for (const roundsMax of [0, 0.5, NaN]) await refused(dump(target.pid, { output, roundsMax }))
    await refused(dump(target.pid, { output: '' }))
    scratch.assertHolds()
    await target.assertUnharmed()
  })
})
