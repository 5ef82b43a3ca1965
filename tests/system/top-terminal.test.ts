// The live view in a real terminal, which is as before afterwards whatever happens. The processes play their parts: see top-rehearsal.ts.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { assertNoCrash } from '../support/cli.ts'
import { skipWithout } from '../support/fixtures.ts'
import { until } from '../support/programs.ts'
import { TerminalSession } from '../support/terminal.ts'

const PROGRAM = `${process.execPath} ${fileURLToPath(new URL('../support/top-rehearsal.js', import.meta.url))}`
const QUICK = '--interval 50ms'

describe('the live view', { skip: skipWithout('script') || skipWithout('stty') }, () => {
  test('draws, answers keys, and q leaves the terminal as it was', async () => {
    await using session = await TerminalSession.start(`stty -g; ${PROGRAM} 1 2 ${QUICK}; echo "code $?"; stty -g`)
    await session.shows(/>- 1 part-1 .*pages\/s written/)
    assert.deepEqual([session.screen.alternate, session.screen.cursorShown], [true, false])
    await session.shows(/[▁▂▃▄▅▆▇█]{2}/)
    session.type('?')
    await session.shows(/PgUp PgDn/)
    session.type('?')
    session.type('jj')
    await session.shows(/^> {2}.*\/dev\/shm\/jobs/m)
    session.type('\r')
    await session.shows(/shared-writers: other processes map it too/)
    session.type('s')
    await session.shows(/by resident/)
    session.type('+')
    await session.shows(/every 100 ms/)
    session.type('p')
    await session.shows(/PAUSED/)
    session.type('q')
    assert.equal(await session.end(), 0)
    session.screen.assertRestored()
    assert.match(session.screen.shown, /code 0/)
    const [before, after] = [...session.screen.text.matchAll(/^[\da-f]+:[\da-f:]+(?=\r?$)/gm)].map(([modes]) => modes)
    assert.equal(after, before, 'the modes of the terminal')
  })

  test('Ctrl-C quits it with code 0, as q does', async () => {
    await using session = await TerminalSession.start(`exec ${PROGRAM} 1 ${QUICK}`)
    await session.shows(/part-1 .*written/)
    session.type('\x03')
    assert.equal(await session.end(), 0)
    session.screen.assertRestored()
  })

  test('follows the size of its window, down to one row', async () => {
    await using session = await TerminalSession.start(`exec ${PROGRAM} 1 ${QUICK}`, { rows: 40, columns: 120 })
    await session.shows(/TRACKER/)
    assert.equal(session.screen.lines.length, 40)
    for (const [rows, columns] of [[5, 20], [1, 1], [2, 7], [60, 200], [24, 80]] as const) {
      session.resize(rows, columns)
      await until(() => session.screen.lines.length === rows, `${rows} rows, not ${session.screen.lines.length}`)
      assert.match(session.screen.shown, columns >= 80 ? /part-1 · / : columns === 1 ? /^…$/ : /^tid/)
      for (const line of session.screen.lines) assert.ok(line.length <= columns, `${rows}x${columns}: ${line}`)
    }
    session.type('q')
    assert.equal(await session.end(), 0)
  })

  for (const [signal, code] of [['SIGTERM', 143], ['SIGINT', 130], ['SIGHUP', 129], ['SIGQUIT', 131]] as const) {
    test(`${signal} ends it with code ${code}, the watch let go and the terminal as it was`, async () => {
      await using session = await TerminalSession.start(`exec ${PROGRAM} 902 1 ${QUICK}`, { env: { REHEARSAL_TOLD: '1' } })
      await session.shows(/902 .*measuring/)
      process.kill(session.pid, signal)
      assert.equal(await session.end(), code)
      session.screen.assertRestored()
      assert.match(session.screen.shown, /the watch was let go/)
      assertNoCrash(session.screen.text)
    })
  }

  test('an engine that fails is one line under a terminal as it was', async () => {
    await using session = await TerminalSession.start(`exec ${PROGRAM} 900 ${QUICK}`)
    assert.equal(await session.end(), 1)
    session.screen.assertRestored()
    assert.match(session.screen.shown, /^tidemark: the engine ended \(SIGKILL\); the target runs on$/m)
    assertNoCrash(session.screen.text)
  })

  test('a bug of ours gives the terminal back before it shows', async () => {
    await using session = await TerminalSession.start(`exec ${PROGRAM} 901 ${QUICK}`)
    assert.notEqual(await session.end(), 0)
    session.screen.assertRestored()
    assert.match(session.screen.shown, /a bug of ours/)
  })

  test('processes that go and execute are lines; when none is left it says so and ends', async () => {
    await using session = await TerminalSession.start(`exec ${PROGRAM} 600 800 ${QUICK}`)
    await session.shows(/600 part-600 is gone/)
    await session.shows(/executed another, was part-800; watched anew/)
    session.type('q')
    assert.equal(await session.end(), 0)
    await using last = await TerminalSession.start(`exec ${PROGRAM} 600 601 ${QUICK}`)
    assert.equal(await last.end(), 0)
    assert.match(last.screen.shown, /tidemark: 600 part-600, 601 part-601 are gone: nothing is left to watch/)
    last.screen.assertRestored()
  })

  test('none that ever was is exit code 5', async () => {
    await using session = await TerminalSession.start(`exec ${PROGRAM} 700 ${QUICK}`)
    assert.equal(await session.end(), 5)
    session.screen.assertRestored()
  })

  test('Ctrl-Z gives the terminal to the shell, and fg brings the view back', { skip: skipWithout('bash') }, async () => {
    await using session = await TerminalSession.start(`PS1='ready$ ' exec bash --norc --noprofile --noediting -i`)
    await session.shows(/ready\$ /)
    session.type(`${PROGRAM} 1 ${QUICK}\n`)
    await session.shows(/part-1 .*written/)
    session.type('\x1a')
    await session.shows(/Stopped/)
    session.screen.assertRestored()
    session.type('stty -a | grep -o " .icanon\\| icanon"; echo answered\n')
    await session.shows(/ icanon\n.*answered/)
    session.type('fg\n')
    await session.shows(/^>- 1 part-1 .*written/m)
    assert.equal(session.screen.alternate, true)
    session.type('q')
    await session.shows(/ready\$ $/)
    session.screen.assertRestored()
    session.type('exit 0\n')
    assert.equal(await session.end(), 0)
  })

  test('stopped by another and continued, it takes the terminal again', { skip: skipWithout('bash') }, async () => {
    await using session = await TerminalSession.start(`PS1='ready$ ' exec bash --norc --noprofile --noediting -i`)
    await session.shows(/ready\$ /)
    session.type(`sh -c 'echo $$; exec ${PROGRAM} 1 ${QUICK}'\n`)
    await session.shows(/part-1 .*written/)
    const pid = Number([...session.screen.text.matchAll(/^(\d+)\r?$/gm)].at(-1)![1])
    process.kill(pid, 'SIGSTOP')
    await session.shows(/Stopped/)
    session.type('clear; fg\n')
    await session.shows(/^tidemark top.*\n>- 1 part-1 .*written/)
    session.type('?')
    await session.shows(/PgUp PgDn/)
    session.type('q')
    await session.shows(/ready\$ $/)
    session.screen.assertRestored()
    session.type('exit 0\n')
    await session.end()
  })

  test('without a shell above it, Ctrl-Z brings it back by itself', async () => {
    await using session = await TerminalSession.start(`exec ${PROGRAM} 1 ${QUICK}`)
    await session.shows(/part-1 .*written/)
    const before = session.screen.text.split('\x1b[?1049h').length
    session.type('\x1a')
    await session.shows(/part-1 .*written/)
    await until(() => session.screen.text.split('\x1b[?1049h').length > before, 'the screen is taken again')
    session.type('q')
    assert.equal(await session.end(), 0)
    session.screen.assertRestored()
  })

  test('an unchanged line is not drawn again', async () => {
    await using session = await TerminalSession.start(`exec ${PROGRAM} 1 ${QUICK}`)
    await session.shows(/1 part-1 · 5,000 pages/)
    session.type('q')
    await session.end()
    assert.equal(session.screen.text.split('tidemark top').length - 1, 1, 'the title came once')
  })

  test('with standard input from elsewhere it shows without keys, and Ctrl-C is a signal', async () => {
    await using session = await TerminalSession.start(`exec ${PROGRAM} 1 ${QUICK} < /dev/null`)
    await session.shows(/no keys here/)
    session.type('\x03')
    assert.equal(await session.end(), 130)
    session.screen.assertRestored()
  })

  test('a terminal that can do nothing has a line for each look', async () => {
    await using session = await TerminalSession.start(`exec ${PROGRAM} 1 ${QUICK} --count 2`, { env: { TERM: 'dumb' } })
    assert.equal(await session.end(), 0)
    assert.doesNotMatch(session.screen.text, /\x1b/)
    assert.match(session.screen.shown, /PID {2}NAME.*\n.*part-1.*\n.*part-1/)
  })
})
