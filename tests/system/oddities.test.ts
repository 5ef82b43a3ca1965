// Processes of every kind that a tool meets in the wild and does not expect.
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test, type TestContext } from 'node:test'
import { dump, isTidemarkError, type DumpResult, type StrategyName } from 'tidemark'
import { guestsUnavailable, startGuestOrSkip, type Guest, type OddInfo } from '../support/guest.ts'
import { openCore } from '../support/image.ts'
import { leftBehind, readTaskState, untilTaskState } from '../support/task-state.ts'
import { checkOdd } from '../support/wavefront-check.ts'

const folder = mkdtempSync(join(tmpdir(), 'tidemark-odd-'))
after(() => rmSync(folder, { recursive: true }))
const skip = guestsUnavailable()
const output = join(folder, 'odd.core')
const STRATEGIES: readonly (StrategyName | 'auto')[] = ['stop', 'fork', 'precopy', 'auto']

/** Modes that end well when told to, with what their images may leave unproven. */
const MODES: readonly { mode: string; unproven?: string; dontDumpToo?: boolean }[] = [
  { mode: 'zombie-leader' }, { mode: 'many-threads' }, { mode: 'sleeper' }, { mode: 'spin' }, { mode: 'prot-none' },
  { mode: 'many-mappings' }, { mode: 'sparse' }, { mode: 'dontdump', dontDumpToo: true }, { mode: 'alias' }, { mode: 'own-uffd' },
  { mode: 'pinned', unproven: 'kernel-workers' }, { mode: 'rseq' },
]

async function dumpAndCheck(guest: Guest<OddInfo>, strategy: StrategyName | 'auto', dontDumpToo: boolean): Promise<DumpResult> {
  const result = await dump(guest.pid, { output, replace: true, strategy, dontDumpToo })
  using opened = openCore(output)
  const { problems, checked } = checkOdd(guest.info, opened.image)
  assert.deepEqual(problems, [], JSON.stringify(result))
  if (guest.info.blocks.length > 0) assert.ok(checked.pages > 0)
  return result
}

async function unharmed(t: TestContext, mode: string, body: (guest: Guest<OddInfo>) => Promise<void>, lastWord?: string): Promise<void> {
  await using guest = await startGuestOrSkip(t, 'odd', [mode])
  if (guest === undefined) return
  const before = readTaskState(guest.pid)
  await body(guest)
  await untilTaskState(guest.pid, (now) => leftBehind(before, now).length === 0).catch(() => assert.fail(leftBehind(before, readTaskState(guest.pid)).join('; ')))
  if (lastWord !== undefined) await guest.ask(lastWord)
  const verdict = await guest.finish()
  assert.equal(verdict.kind, 'ok', JSON.stringify(verdict))
}

for (const { mode, unproven, dontDumpToo = false } of MODES) {
  test(`${mode}: saved by every strategy, whole, and unharmed`, { skip }, (t) => unharmed(t, mode, async (guest) => {
    for (const strategy of STRATEGIES) {
      const result = await dumpAndCheck(guest, strategy, dontDumpToo)
      for (const { kind } of result.unproven) assert.ok(kind === unproven || kind === 'pinned', `${strategy}: ${kind}`)
    }
  }))
}

test('stopped: saved, it is still stopped, and goes on when it is told to', { skip }, async (t) => {
  await using guest = await startGuestOrSkip(t, 'odd', ['stopped'])
  if (guest === undefined) return
  await untilTaskState(guest.pid, (state) => state.stopped)
  for (const strategy of STRATEGIES) {
    await dumpAndCheck(guest, strategy, false)
    await untilTaskState(guest.pid, (state) => state.stopped && !state.traced)
  }
  guest.kill('SIGCONT')
  const verdict = await guest.finish()
  assert.equal(verdict.kind, 'ok', JSON.stringify(verdict))
})

for (const mode of ['vfork', 'dstate'] as const) {
  test(`${mode}: a thread that cannot be stopped is waited for, then named, and nobody stays stopped`, { skip }, (t) => unharmed(t, mode, async (guest) => {
    for (const strategy of ['stop', 'fork', 'precopy'] as const) {
      await assert.rejects(dump(guest.pid, { output: join(folder, 'stuck.core'), strategy, freezeTimeoutNs: 200e6 }), (error) =>
        isTidemarkError(error) && error.code === 'timed-out' && /thread \d+ is in state D/.test(error.message))
    }
  }, 'release'))
}

for (const mode of ['exec-soon', 'exit-soon'] as const) {
  test(`${mode}: dumps end with a whole image or with 'gone', never with a mixture`, { skip }, async (t) => {
    const outcomes = { whole: 0, gone: 0 }
    for (let i = 0; i < 12; i++) {
      await using guest = await startGuestOrSkip(t, 'odd', [mode, '250'])
      if (guest === undefined) return
      const path = join(folder, `${mode}-${i}.core`)
      try {
        await dump(guest.pid, { output: path, strategy: STRATEGIES[i % 4]! })
        outcomes.whole++
        using opened = openCore(path)
        assert.ok(opened.core.threads.length > 0 && opened.core.segments.length > 5)
      } catch (error) {
        if (!isTidemarkError(error) || error.code !== 'gone') throw error
        outcomes.gone++
        assert.ok(!readdirSync(folder).includes(`${mode}-${i}.core`))
      }
    }
    t.diagnostic(`${outcomes.whole} whole, ${outcomes.gone} gone`)
  })
}

test('a terabyte that is hardly touched takes no more space than what was touched', { skip }, async (t) => {
  await using guest = await startGuestOrSkip(t, 'odd', ['sparse'])
  if (guest === undefined) return
  await dumpAndCheck(guest, 'precopy', false)
  assert.ok(statSync(output).blocks * 512 < 64 << 20)
})
