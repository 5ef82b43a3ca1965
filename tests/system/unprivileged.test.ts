// As a user without rights, with a copy of the program that all can read.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { decodeCore } from 'tidemark'
import { assertNoCrash, assertOneLine, assertRefused, isRoot, runCli, Scratch, type CliResult } from '../support/cli.ts'
import { installForAll } from '../support/cli-for-all.ts'
import { buildFixture, skipTargets, skipWithout, Target } from '../support/fixtures.ts'

const NOBODY = 65534
const STRATEGIES = ['stop', 'fork', 'precopy', 'auto']

/** A core and 0 or 6, or one line that says what is missing and 3 or 4. */
function assertSavedOrSaid(result: CliResult, file: string, scratch: Scratch): boolean {
  assertNoCrash(result.stderr)
  if (result.code === 0 || result.code === 6) {
    const bytes = readFileSync(file)
    assert.ok(decodeCore({ bytes: bytes.length, read: (offset, length) => bytes.subarray(offset, offset + length) }).threads.length > 0)
    assert.equal(statSync(file).uid, NOBODY)
    return true
  }
  assert.ok(result.code === 3 || result.code === 4, `${result.code}: ${result.stderr}`)
  assertOneLine(result)
  assert.match(result.stderr, /\(.+\)\n$/, 'with what to do')
  scratch.assertHolds()
  return false
}

describe('without rights', { skip: !isRoot && 'only root can be another user' || skipTargets }, () => {
  let installed: ReturnType<typeof installForAll>
  before(() => { installed = installForAll() })
  after(() => { installed[Symbol.dispose]() })

  const run = (words: readonly string[], before: readonly string[] = []) => runCli(words, { uid: NOBODY, program: installed.program, cwd: '/', env: { HOME: '/' }, before })

  function scratchOfNobody(): Scratch {
    const scratch = new Scratch()
    chownSync(scratch.path, NOBODY, NOBODY)
    return scratch
  }

  for (const strategy of STRATEGIES) {
    test(`an own process is saved by ${strategy}, or what is missing is said`, async (t) => {
      using scratch = scratchOfNobody()
      await using target = await Target.start({ uid: NOBODY })
      const result = await run(['dump', String(target.pid), '--strategy', strategy, '-o', scratch.file('x.core')])
      if (!assertSavedOrSaid(result, scratch.file('x.core'), scratch)) t.diagnostic(result.stderr.trim())
      await target.assertUnharmed()
    })
  }

  test('a child of the calling shell is saved, as in a container', { skip: skipWithout('setpriv') }, async (t) => {
    using scratch = scratchOfNobody()
    // No new privileges, no capability even in the bounding set: what a hardened container gives.
    const before = ['setpriv', '--no-new-privs', '--bounding-set=-all', '--']
    await using target = await Target.start({ uid: NOBODY, before })
    for (const strategy of STRATEGIES) {
      const result = await run(['dump', String(target.pid), '--strategy', strategy, '--force', '-o', scratch.file('x.core')], before)
      if (result.code !== 0) t.diagnostic(`${strategy}: ${result.stderr.trim()}`)
      assertNoCrash(result.stderr)
      assert.ok([0, 3, 4, 6].includes(result.code as number), `${result.code}: ${result.stderr}`)
      await target.assertUnharmed()
    }
  })

  test('another user\'s process is refused by every strategy, and is not touched', async () => {
    using scratch = scratchOfNobody()
    await using target = await Target.start()
    for (const strategy of STRATEGIES) {
      const result = await run(['dump', String(target.pid), '--strategy', strategy, '-o', scratch.file('x.core')])
      assertRefused(result, 3, /not permitted.*\(.+\)/)
      scratch.assertHolds()
    }
    await target.assertUnharmed()
  })

  test('a process that may not be dumped (PR_SET_DUMPABLE) is not permitted', { skip: skipWithout('setpriv') }, async () => {
    using scratch = scratchOfNobody()
    // A program that may not be read makes its process undumpable, as a set-user-id one does.
    const program = scratch.file('unreadable')
    writeFileSync(program, readFileSync(buildFixture('target')), { mode: 0o711 })
    chownSync(program, 0, 0)
    const child = spawn(program, ['1', '1'], { uid: NOBODY, gid: NOBODY, stdio: ['pipe', 'pipe', 'ignore'] })
    try {
      await once(child.stdout, 'data')
      assertRefused(await run(['dump', String(child.pid), '-o', join(scratch.path, 'x.core')]), 3, /not permitted.*\(.+\)/)
      scratch.assertHolds('unreadable')
    } finally {
      const gone = once(child, 'exit')
      child.kill('SIGKILL')
      await gone
    }
  })

  test('check ends with 0 or 3 and does not crash', async () => {
    for (const before of [[], ['setpriv', '--no-new-privs', '--bounding-set=-all', '--']]) {
      for (const words of [['check'], ['check', '--json']]) {
        const { code, stdout, stderr } = await run(words, before)
        assertNoCrash(stderr)
        assertNoCrash(stdout.toString())
        assert.ok(code === 0 || code === 3, `${code}: ${stderr}`)
        assert.equal(stderr === '', code === 0)
      }
    }
  })
})
