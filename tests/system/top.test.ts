// `tidemark top` on real processes: its words, its exit codes, its contract, and what becomes of those who are watched.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { after, before, describe, test } from 'node:test'
import type { WatchSample } from 'tidemark'
import { assertNoCrash, assertRefused, PROGRAM, runCli, startCli } from '../support/cli.ts'
import { Bystander, skipTargets, skipWithout, Target } from '../support/fixtures.ts'
import { until } from '../support/programs.ts'
import { TerminalSession } from '../support/terminal.ts'

/** Each with what its line must name. */
const NONSENSE: readonly (readonly [words: readonly string[], says: RegExp])[] = [
  [['--interval', '0'], /--interval.*50ms/], [['--interval', '1ms'], /--interval.*50ms/], [['--interval', '5'], /--interval.*unit/], [['--interval', '2000m'], /--interval.*60m/],
  [['--count', '0'], /--count.*whole number/], [['--count', '1.5'], /--count/], [['--once', '--count', '2'], /--once and --count contradict/],
  [['--budget', '2'], /--budget.*2%/], [['--budget', '0%'], /--budget/], [['--budget', '101%'], /--budget/], [['--budget', '-1%'], /--budget/], [['--budget'], /--budget.*argument missing/],
  [['--metrics', '9464'], /--metrics.*:PORT/], [['--metrics', ':65536'], /--metrics/], [['--metrics', '192.0.2.1:9464'], /no such address/],
  [['--no-such-thing'], /unknown option/], [['x'], /pid.*number of a process/], [['0'], /pid/], [['4194304'], /pid/],
]

describe('top', { skip: skipTargets }, () => {
  let target: Target
  before(async () => { target = await Target.start({ mib: 16 }) })
  after(async () => { await target[Symbol.asyncDispose]() })

  for (const [words, says] of NONSENSE) {
    test(`"top PID ${words.join(' ')}" is exit code 2 and one line`, async () => {
      assertRefused(await runCli(['top', String(target.pid), ...words]), 2, says)
    })
  }

  test('no process is a line and exit code 5, with every form of output', async () => {
    const { pid } = await ended()
    for (const words of [['--once'], ['--json'], ['--json', '--once'], []]) {
      assertRefused(await runCli(['top', String(pid), ...words, '--interval', '50ms']), 5, new RegExp(`${pid}.*\\(see \`ps -e\`\\)`))
    }
  })

  test('a port in use is one line and no look', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    assertRefused(await runCli(['top', String(target.pid), '--metrics', `:${port}`]), 1, new RegExp(`127\\.0\\.0\\.1:${port}: the port is in use \\(.*--metrics`))
    server.close()
    await target.assertUnharmed()
  })

  test('--once is a table on stdout, without escape codes', async () => {
    const { code, stdout, stderr } = await runCli(['top', String(target.pid), '--once', '--interval', '100ms'])
    assert.equal(code, 0, stderr)
    assert.equal(stderr, '')
    const text = stdout.toString()
    assert.match(text, new RegExp(`^${target.pid} target · [\\d,]+ pages/s written`))
    assert.match(text, /^ADDRESS +PERM +RSS +WRITE\/S +IN 1s +IN 10s +IN 60s +TRACKER/m)
    assert.match(text, /^7[\da-f]{11} +rw-p +\d+\S* +\d+\S* .*\[stack\]$/m)
    assert.match(text, /^precopy +\S+ (ms|µs|s)/m)
    assert.doesNotMatch(text, /\x1b/)
    await target.assertUnharmed()
  })

  test('--json is one line of the contract for each look, and nothing for people', async () => {
    const { code, stdout, stderr } = await runCli(['top', String(target.pid), '--json', '--count', '3', '--interval', '100ms', '--budget', '100%'])
    assert.equal(code, 0, stderr)
    assert.equal(stderr, '')
    const samples = stdout.toString().trimEnd().split('\n').map((line) => JSON.parse(line) as WatchSample & { schema: string; kind: string })
    assert.equal(samples.length, 3)
    for (const sample of samples) assertContract(sample, target.pid)
    assert.ok(samples[0]!.atNs < samples[1]!.atNs && samples[1]!.atNs < samples[2]!.atNs)
    assert.ok(samples.some(({ writtenPages }) => writtenPages > 0), 'it does write')
    await target.assertUnharmed()
  })

  test('into a pipe each look is a line; a reader that goes away is no error', async () => {
    const { code, stdout } = await runCli(['top', String(target.pid), '--count', '2', '--interval', '50ms'])
    assert.equal(code, 0)
    assert.match(stdout.toString(), new RegExp(`^ +PID  NAME .*\\n +${target.pid}  target .*\\n +${target.pid}  target .*\\n$`))
    const running = startCli(['top', String(target.pid), '--json', '--interval', '50ms'], { stdout: 'unread' })
    running.child.stdout!.once('data', () => running.child.stdout!.destroy())
    assert.deepEqual(await running.done.then(({ code, stderr }) => ({ code, stderr })), { code: 0, stderr: '' })
    await target.assertUnharmed()
  })

  test('one process gone from the start does not keep the other from being watched', async () => {
    const { pid } = await ended()
    const { code, stdout, stderr } = await runCli(['top', String(pid), String(target.pid), '--count', '1', '--interval', '50ms'])
    assert.equal(code, 0, stderr)
    assert.equal(stderr, `tidemark: ${pid} is gone\n`)
    assert.match(stdout.toString(), new RegExp(`^ +${target.pid}  target`, 'm'))
  })

  test('signals end it with their codes and an unharmed target', async () => {
    for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143], ['SIGHUP', 129]] as const) {
      const running = startCli(['top', String(target.pid), '--json', '--interval', '50ms'])
      await once(running.child.stdout!, 'data')
      running.child.kill(signal)
      const result = await running.done
      assert.equal(result.code, code, result.stderr)
      assert.equal(result.stderr, '')
      await target.assertUnharmed()
    }
  })

  test('a reader who never reads does not make it deaf', async () => {
    const running = startCli(['top', String(target.pid), '--json', '--interval', '50ms', '--budget', '100%'], { stdout: 'unread', withinMs: 30_000 })
    await new Promise((resolve) => setTimeout(resolve, 3_000))
    running.child.kill('SIGTERM')
    assert.equal((await running.done).code, 143)
    await target.assertUnharmed()
  })

  test('--metrics serves what it sees, on the loopback, and says where', async () => {
    const running = startCli(['top', String(target.pid), '--metrics', ':0', '--interval', '50ms'])
    await once(running.child.stdout!, 'data')
    let said = ''
    running.child.stderr!.on('data', (piece: Buffer) => { said += piece.toString() })
    await once(running.child.stdout!, 'data')
    running.child.kill('SIGTERM')
    const { stderr } = await running.done
    assert.match(stderr, /^tidemark: metrics at http:\/\/127\.0\.0\.1:\d+\/metrics\n$/)
    assert.equal(said, '')
  })

  test('the live view shows a real process, and is quit without harm to it', { skip: skipWithout('script') }, async () => {
    await using session = await TerminalSession.start(`exec ${process.execPath} ${PROGRAM} top ${target.pid} --interval 100ms --metrics :0`, { rows: 40, columns: 120 })
    await session.shows(new RegExp(`>- ${target.pid} target · [\\d,]+ pages/s written`))
    await session.shows(/metrics at http:\/\/127/)
    const [url] = /http:\/\/127\.0\.0\.1:\d+\/metrics/.exec(session.screen.shown)!
    await session.shows(/precopy +\S+ (ms|µs)/)
    assert.match(await (await fetch(url)).text(), new RegExp(`^tidemark_written_pages_per_second\\{pid="${target.pid}",name="target"\\} [\\d.e+]+$`, 'm'))
    session.type('a')
    await session.shows(/by address/)
    session.type('j\r')
    await session.shows(/0x[\da-f]{16}-0x[\da-f]{16} \S{4}/)
    session.type('q')
    assert.equal(await session.end(), 0)
    session.screen.assertRestored()
    await target.assertUnharmed()
  })
})

describe('top of a process', { skip: skipTargets }, () => {
  test('that is killed ends with a line and code 0', async () => {
    await using sleeper = new Bystander('sleep', ['60'])
    const running = startCli(['top', String(sleeper.pid), '--interval', '50ms'])
    await once(running.child.stdout!, 'data')
    process.kill(sleeper.pid, 'SIGKILL')
    const { code, stderr } = await running.done
    assert.equal(code, 0)
    assert.equal(stderr, `tidemark: ${sleeper.pid} sleep is gone: nothing is left to watch\n`)
  })

  test('that executes another program goes on with that one', async () => {
    const shell = spawn('sh', ['-c', 'read line; exec sleep 60'], { stdio: ['pipe', 'ignore', 'inherit'] })
    try {
      const running = startCli(['top', String(shell.pid), '--json', '--interval', '50ms'])
      let seen = ''
      running.child.stdout!.on('data', (piece: Buffer) => { seen += piece.toString() })
      await until(() => seen.includes('"name":"sh"'), 'the shell')
      shell.stdin.write('\n')
      await until(() => seen.includes('{"schema":"tidemark.top/1","kind":"executed"') && seen.includes('"kind":"sample","pid":' + shell.pid + ',"name":"sleep"'), 'sleep')
      running.child.kill('SIGINT')
      assert.equal((await running.done).code, 130)
    } finally {
      shell.kill('SIGKILL')
    }
  })

  test('that forks all the time is watched and goes on forking', async () => {
    const shell = spawn('sh', ['-c', 'while :; do /bin/true; echo .; done'], { stdio: ['ignore', 'pipe', 'inherit'] })
    let forks = 0
    shell.stdout.on('data', (piece: Buffer) => { forks += piece.length / 2 })
    try {
      const { code, stdout, stderr } = await runCli(['top', String(shell.pid), '--json', '--count', '5', '--interval', '100ms', '--budget', '100%'])
      assert.equal(code, 0, stderr)
      assertNoCrash(stderr)
      assert.equal(stdout.toString().trimEnd().split('\n').length, 5)
      const before = forks
      await until(() => forks > before + 5, 'it goes on forking')
    } finally {
      shell.kill('SIGKILL')
    }
  })
})

/** A process that was there a moment ago. */
async function ended(): Promise<{ readonly pid: number }> {
  const child = spawn('true')
  await once(child, 'exit')
  return { pid: child.pid! }
}

function assertContract(sample: WatchSample & { readonly schema: string; readonly kind: string }, pid: number): void {
  assert.deepEqual([Object.keys(sample)[0], sample.schema, sample.kind, sample.pid, sample.name], ['schema', 'tidemark.top/1', 'sample', pid, 'target'])
  for (const name of ['atNs', 'elapsedNs', 'nextAfterNs', 'residentPages', 'swappedPages', 'writtenPages', 'pageBytes'] as const) {
    assert.ok(Number.isSafeInteger(sample[name]) && sample[name] >= 0, `${name}: ${sample[name]}`)
  }
  assert.ok(sample.writtenPagesPerSecond >= 0 && sample.heatCellPages >= 0 && sample.heat.every((pages) => pages >= 0))
  assert.ok(sample.mappings.length > 5)
  for (const { start, end, permissions } of sample.mappings) {
    for (const address of [start, end]) assert.match(address, /^0x[\da-f]{16}$/)
    assert.match(permissions, /^[r-][w-][x-][ps]$/)
  }
  for (const { pauseNs } of Object.values(sample.predicted)) assert.ok(Number.isSafeInteger(pauseNs) && pauseNs > 0)
}
