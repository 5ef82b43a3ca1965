// Places that cannot take the file. One line, the documented code, no file and no draft of it, and an unharmed target.
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { assertRefused, isRoot, runCli, Scratch, sleep, startCli } from '../support/cli.ts'
import { installForAll } from '../support/cli-for-all.ts'
import { skipTargets, skipWithout, Target } from '../support/fixtures.ts'

const STRATEGIES = ['auto', 'stop', 'fork', 'precopy']

describe('a place that cannot take the file', { skip: skipTargets }, () => {
  let target: Target
  before(async () => { target = await Target.start({ mib: 16 }) })
  after(async () => { await target[Symbol.asyncDispose]() })

  const dump = (output: string, ...more: string[]) => runCli(['dump', String(target.pid), '-o', output, ...more])

  for (const strategy of STRATEGIES) {
    test(`a full disk under ${strategy} leaves nothing behind`, { skip: !isRoot && 'mounting a small disk needs root' }, async (t) => {
      using scratch = new Scratch()
      const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', scratch.path], { encoding: 'utf8' })
      if (mounted.status !== 0) return t.skip(`no small disk: ${mounted.stderr.trim()}`)
      try {
        assertRefused(await dump(scratch.file('x.core'), '--strategy', strategy), 1, /cannot write .*x\.core: the disk is full/)
        scratch.assertHolds()
        await target.assertUnharmed()
      } finally {
        spawnSync('umount', [scratch.path])
      }
    })

    test(`a limit of file size under ${strategy} is an error and no death by SIGXFSZ`, { skip: skipWithout('prlimit') }, async () => {
      using scratch = new Scratch()
      const result = await runCli(['dump', String(target.pid), '-o', scratch.file('x.core'), '--strategy', strategy], { before: ['prlimit', '--fsize=1000000', '--'] })
      assertRefused(result, 1, /RLIMIT_FSIZE/)
      scratch.assertHolds()
      await target.assertUnharmed()
    })
  }

  test('a file that exists is kept', async () => {
    using scratch = new Scratch()
    writeFileSync(scratch.file('x.core'), 'precious')
    assertRefused(await dump(scratch.file('x.core')), 1, /x\.core exists \(.*--force\)/)
    assert.equal(readFileSync(scratch.file('x.core'), 'utf8'), 'precious')
    scratch.assertHolds('x.core')
    await target.assertUnharmed()
  })

  test('a failure with --force keeps the file that was to be replaced', { skip: skipWithout('prlimit') }, async () => {
    using scratch = new Scratch()
    writeFileSync(scratch.file('x.core'), 'precious')
    const result = await runCli(['dump', String(target.pid), '--force', '-o', scratch.file('x.core')], { before: ['prlimit', '--fsize=1000000', '--'] })
    assertRefused(result, 1, /RLIMIT_FSIZE/)
    assert.equal(readFileSync(scratch.file('x.core'), 'utf8'), 'precious')
    scratch.assertHolds('x.core')
  })

  test('a directory, a missing directory, a file as directory, a loop and a name too long are named', async () => {
    using scratch = new Scratch()
    mkdirSync(scratch.file('d.d'))
    writeFileSync(scratch.file('plain'), '')
    symlinkSync('loop.core', scratch.file('loop.core'))
    assertRefused(await dump(scratch.file('d.d')), 1, /d\.d is a directory/)
    assertRefused(await dump(scratch.path), 1, /is a directory/)
    assertRefused(await dump(scratch.file('no/x.core')), 1, /no such directory/)
    assertRefused(await dump(scratch.file('plain/x.core')), 1, /not a directory/)
    assertRefused(await dump(scratch.file('loop.core')), 1, /cannot write .*loop\.core/)
    assertRefused(await dump(scratch.file(`${'long'.repeat(80)}.core`)), 1, /cannot write .*long\.core/)
    scratch.assertHolds('d.d', 'plain', 'loop.core')
    await target.assertUnharmed()
  })

  test('an empty name is refused and makes no file called .PID', async () => {
    using scratch = new Scratch()
    assertRefused(await runCli(['dump', String(target.pid), '-o', ''], { cwd: scratch.path }), 2, /name/)
    scratch.assertHolds()
  })

  test('a folder of the kernel takes no file', async () => {
    assertRefused(await dump('/proc/x.core'), 1, /cannot write \/proc\/x\.core/)
    assert.ok(!existsSync('/proc/x.core'))
  })

  test('/dev/full is a full disk', async () => {
    assertRefused(await dump('/dev/full'), 1, /disk is full/)
    await target.assertUnharmed()
  })
})

test('a folder of somebody else is not permitted', { skip: !isRoot && 'only root can be another user' || skipTargets }, async (t) => {
  const installed = installForAll()
  t.after(() => installed[Symbol.dispose]())
  await using target = await Target.start({ uid: 65534 })
  using scratch = new Scratch()
  mkdirSync(scratch.file('open'))
  mkdirSync(scratch.file('closed'))
  chmodSync(scratch.file('closed'), 0o700)
  chmodSync(scratch.path, 0o755)
  chownSync(scratch.path, 0, 0)
  const asNobody = (output: string) => runCli(['dump', String(target.pid), '-o', output], { uid: 65534, program: installed.program, cwd: '/' })
  assertRefused(await asNobody(scratch.file('open/x.core')), 3, /cannot write .*open\/x\.core: not permitted/)
  assertRefused(await asNobody(scratch.file('closed/x.core')), 3, /cannot write .*closed\/x\.core: not permitted/)
  scratch.assertHolds('open', 'closed')
  await target.assertUnharmed()
})

describe('a pipe', { skip: skipTargets || skipWithout('mkfifo') }, () => {
  let target: Target
  before(async () => { target = await Target.start({ mib: 4 }) })
  after(async () => { await target[Symbol.asyncDispose]() })

  function fifo(scratch: Scratch): string {
    assert.equal(spawnSync('mkfifo', [scratch.file('pipe')]).status, 0)
    return scratch.file('pipe')
  }

  test('a FIFO gets the whole core and stays a FIFO', async () => {
    using scratch = new Scratch()
    const path = fifo(scratch)
    const reader = spawn('sh', ['-c', 'wc -c < "$1"', 'sh', path], { stdio: ['ignore', 'pipe', 'inherit'] })
    let count = ''
    reader.stdout.on('data', (piece: Buffer) => { count += piece.toString() })
    const closed = once(reader, 'close')
    const result = await runCli(['dump', String(target.pid), '-o', path, '--json'])
    assert.equal(result.code, 0, result.stderr)
    await closed
    assert.equal(Number(count), (JSON.parse(result.stdout.toString()) as { fileBytes: number }).fileBytes)
    scratch.assertHolds('pipe')
  })

  test('a reader that goes away is one line', async () => {
    using scratch = new Scratch()
    const path = fifo(scratch)
    const reader = spawn('head', ['-c', '100', path], { stdio: 'ignore' })
    const gone = once(reader, 'exit')
    assertRefused(await runCli(['dump', String(target.pid), '-o', path]), 1, /reader went away/)
    await gone
    await target.assertUnharmed()
  })

  test('standard output that nobody reads is one line, and no death by SIGPIPE', async () => {
    const running = startCli(['dump', String(target.pid), '-o', '-'], { stdout: 'unread' })
    running.child.stdout!.destroy()
    assertRefused(await running.done, 1, /standard output: the reader went away/)
    await target.assertUnharmed()
  })

  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    test(`${signal} ends the wait for a FIFO's reader that never comes`, async () => {
      using scratch = new Scratch()
      const running = startCli(['dump', String(target.pid), '-o', fifo(scratch)], { withinMs: 8_000 })
      await sleep(3_000) // Long after all is collected.
      running.child.kill(signal)
      assertRefused(await running.done, signal === 'SIGINT' ? 130 : 143, /interrupted/)
      await target.assertUnharmed()
    })

    test(`${signal} ends the wait for a slow reader of standard output`, async () => {
      const running = startCli(['dump', String(target.pid), '-o', '-'], { stdout: 'unread', withinMs: 8_000 })
      await once(running.child.stdout!, 'readable') // It pours, and we take no more than the first piece.
      await sleep(100)
      running.child.kill(signal)
      assertRefused(await running.done, signal === 'SIGINT' ? 130 : 143, /interrupted/)
      await target.assertUnharmed()
    })
  }

  test('--timeout ends the wait for a reader too', async () => {
    const running = startCli(['dump', String(target.pid), '-o', '-', '--timeout', '2s'], { stdout: 'unread', withinMs: 8_000 })
    assertRefused(await running.done, 124, /timed out.*--timeout/)
    await target.assertUnharmed()
  })

  test('-o - with --json is refused, both want standard output', async () => {
    assertRefused(await runCli(['dump', String(target.pid), '-o', '-', '--json']), 2, /--json.*standard output/)
  })
})
