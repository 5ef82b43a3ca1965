// The words: help, version, JSON, streams, terminals.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { assertNoCrash, PROGRAM, runCli, Scratch, startCli } from '../support/cli.ts'
import { skipTargets, skipWithout, Target } from '../support/fixtures.ts'
import { checkoutRoot } from '../support/guest-build.ts'

const COLUMNS_MAX = 100
const COMMANDS = ['check', 'dump', 'pages', 'predict', 'top', 'completion']

test('--help of every command has examples, fits 100 columns and goes to stdout', async () => {
  for (const words of [[], ...COMMANDS.map((command) => [command])]) {
    const { code, stdout, stderr } = await runCli([...words, '--help'], { env: { COLUMNS: String(COLUMNS_MAX) } })
    const text = stdout.toString()
    assert.equal(code, 0)
    assert.equal(stderr, '')
    assert.match(text, /^Examples:\n  (.*)tidemark /m, `${words.join(' ')}: ${text}`)
    assert.deepEqual(text.split('\n').filter((line) => line.length > COLUMNS_MAX), [], words.join(' '))
    assert.equal((await runCli(['help', ...words])).stdout.toString().includes('Examples:'), true)
  }
})

test('without words it shows its help, which names every command and exit code', async () => {
  const { code, stdout } = await runCli([])
  assert.equal(code, 0)
  for (const word of [...COMMANDS, '130/143', '124']) assert.ok(stdout.toString().includes(word), word)
})

test('--version is the version of the package', async () => {
  const { version } = JSON.parse(readFileSync(join(checkoutRoot(), 'package.json'), 'utf8')) as { version: string }
  for (const word of ['--version', '-V']) assert.equal((await runCli([word])).stdout.toString(), `${version}\n`)
})

test('a reader of the help that goes away is no error', async () => {
  const running = startCli(['--help'], { stdout: 'unread' })
  running.child.stdout!.destroy()
  const { code, stderr } = await running.done
  assert.equal(code, 0)
  assert.equal(stderr, '')
})

describe('a dump', { skip: skipTargets }, () => {
  let target: Target
  before(async () => { target = await Target.start({ mib: 32 }) })
  after(async () => { await target[Symbol.asyncDispose]() })

  for (const strategy of ['stop', 'fork', 'precopy', 'auto']) {
    test(`--json by ${strategy} is one object with the fields of the contract`, async () => {
      using scratch = new Scratch()
      const { code, stdout, stderr } = await runCli(['dump', String(target.pid), '--strategy', strategy, '-o', scratch.file('x.core'), '--json'])
      assert.equal(code, 0, stderr)
      assert.equal(stderr, '', 'no words for people')
      assertContract(stdout.toString(), target.pid, scratch.file('x.core'), strategy)
    })
  }

  test('its name is on stdout and words for people on stderr, without escape codes or progress', async () => {
    using scratch = new Scratch()
    const { code, stdout, stderr } = await runCli(['dump', String(target.pid), '-o', scratch.file('x.core')])
    assert.equal(code, 0)
    assert.equal(stdout.toString(), `${scratch.file('x.core')}\n`)
    assert.match(stderr, /^Saved process \d+ by \w+: pause [\d.]+ (ms|µs|s), .+\n$/)
    assert.doesNotMatch(stderr, /[\r\x1b]/)
  })

  test('its progress is on the terminal and is wiped away', { skip: skipWithout('script') }, () => {
    using scratch = new Scratch()
    const seen = onTerminal(`${process.execPath} ${PROGRAM} dump ${target.pid} -o ${scratch.file('x.core')}`)
    assert.match(seen, /\r\x1b\[K(rehearsing|pausing|finishing)/)
    assert.match(seen, /\r\x1b\[KSaved process/)
    assert.ok(existsSync(scratch.file('x.core')))
  })

  test('a core does not go to a terminal', { skip: skipWithout('script') }, () => {
    assert.match(onTerminal(`${process.execPath} ${PROGRAM} dump ${target.pid} -o -; echo exit $?`), /tidemark: .*terminal.*\r\nexit 2/s)
  })

  test('a filter leaves out what it names', async () => {
    using scratch = new Scratch()
    const dumped = async (...words: string[]) => {
      const { code, stdout, stderr } = await runCli(['dump', String(target.pid), '-o', scratch.file('x.core'), '--force', '--json', ...words])
      assert.equal(code, 0, stderr)
      return (JSON.parse(stdout.toString()) as { capturedPages: number }).capturedPages
    }
    const all = await dumped()
    assert.ok(all > (32 << 20) / 4096 - 1 || all > 100)
    for (const words of [['--no-anon-private'], ['--filter', '0'], ['--filter=0x0']]) assert.ok(await dumped(...words) < all / 4, words.join(' '))
  })

  test('nothing of this has harmed the target', () => target.assertUnharmed())
})

function onTerminal(command: string, env: Readonly<Record<string, string>> = {}): string {
  const { stdout } = spawnSync('script', ['-qec', command, '/dev/null'], { encoding: 'utf8', env: { ...process.env, TERM: 'xterm', NODE_OPTIONS: '', NO_COLOR: undefined, FORCE_COLOR: undefined, ...env }, stdio: ['ignore', 'pipe', 'inherit'], timeout: 30_000 })
  return stdout
}

function assertContract(stdout: string, pid: number, file: string, strategy: string): void {
  assert.equal(stdout.indexOf('\n'), stdout.length - 1, 'one line')
  const json = JSON.parse(stdout) as Record<string, unknown>
  assert.equal(json['schema'], 'tidemark.dump/1')
  assert.equal(Object.keys(json)[0], 'schema')
  assert.equal(json['pid'], pid)
  assert.equal(json['file'], file)
  assert.ok(strategy === 'auto' ? ['stop', 'fork', 'precopy'].includes(String(json['strategy'])) : json['strategy'] === strategy)
  for (const name of ['pauseNs', 'freezeNs', 'totalNs', 'capturedPages', 'dirtyAtPausePages', 'zeroPages', 'writtenBytes', 'threads', 'mappings', 'extraMemoryBytesMax']) {
    assert.ok(Number.isSafeInteger(json[name]) && (json[name] as number) >= 0, `${name}: ${String(json[name])}`)
  }
  const number = (name: string): number => json[name] as number
  assert.ok(number('freezeNs') > 0 && number('freezeNs') <= number('pauseNs') && number('pauseNs') < number('totalNs'))
  assert.equal(number('threads'), 3)
  assert.ok(number('capturedPages') * 4096 >= 32 << 20 || number('capturedPages') * 65536 >= 32 << 20)
  const rounds = json['roundPages'] as number[]
  assert.ok(Array.isArray(rounds) && rounds.length > 0 && rounds.every((pages) => Number.isSafeInteger(pages) && pages >= 0))
  assert.deepEqual(json['warnings'], [])
  assert.equal(json['consistency'], 'proven')
}

test('check has colours on a terminal, unless NO_COLOR says no', { skip: skipWithout('script') }, () => {
  const command = `${process.execPath} ${PROGRAM} check`
  assert.match(onTerminal(command), /\x1b\[\d+m/)
  assert.doesNotMatch(onTerminal(command, { NO_COLOR: '1' }), /\x1b\[\d+m/)
  assertNoCrash(onTerminal(command))
})

test('check --json is one object on stdout', async () => {
  const { code, stdout, stderr } = await runCli(['check', '--json'])
  assert.ok(code === 0 || code === 3 || code === 4, stderr)
  assert.equal((JSON.parse(stdout.toString()) as { schema: string }).schema, 'tidemark.check/1')
})
