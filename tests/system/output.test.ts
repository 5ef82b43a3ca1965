// What lies on the disk when it is done, and before it is.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { closeSync, fstatSync, mkdirSync, openSync, readdirSync, readFileSync, readSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { decodeCore } from 'tidemark'
import { runCli, Scratch, sleep, startCli } from '../support/cli.ts'
import { skipTargets, Target } from '../support/fixtures.ts'

const MIB = 32

describe('a saved core', { skip: skipTargets }, () => {
  let target: Target
  before(async () => { target = await Target.start({ mib: MIB }) })
  after(async () => { await target[Symbol.asyncDispose]() })

  async function dump(scratch: Scratch, ...words: string[]): Promise<string> {
    const { code, stdout, stderr } = await runCli(['dump', String(target.pid), ...words], { cwd: scratch.path })
    assert.equal(code, 0, stderr)
    return stdout.toString()
  }

  function decode(bytes: Buffer) {
    return decodeCore({ bytes: bytes.length, read: (offset, length) => bytes.subarray(offset, offset + length) })
  }

  function assertWhole(bytes: Buffer): void {
    const core = decode(bytes)
    assert.equal(core.process.pid, target.pid)
    assert.equal(core.threads.length, 3)
    for (const { fileOffset, fileBytes } of core.segments) assert.ok(fileOffset + fileBytes <= bytes.length)
    assert.ok(core.segments.some(({ fileBytes, writable }) => writable && fileBytes >= MIB << 20), 'the target\'s memory is in it')
  }

  test('a bare name is a prefix, a name with an extension is the file, none is core.PID', async () => {
    using scratch = new Scratch()
    const { pid } = target
    mkdirSync(scratch.file('d.d'))
    for (const [words, name] of [
      [[], `core.${pid}`], [['-o', 'app'], `app.${pid}`], [['-o', 'app.core'], 'app.core'],
      [['-o', 'd.d/app'], `d.d/app.${pid}`], [['-o', '.hidden'], `.hidden.${pid}`], [['--output=x.y'], 'x.y'],
    ] as const) {
      assert.equal(await dump(scratch, ...words), `${name}\n`, 'the name is on stdout, for $(…)')
      assertWhole(readFileSync(scratch.file(name)))
    }
    scratch.assertHolds('d.d', `core.${pid}`, `app.${pid}`, 'app.core', `.hidden.${pid}`, 'x.y')
    await target.assertUnharmed()
  })

  for (const strategy of ['stop', 'fork', 'precopy']) {
    test(`${strategy}: the name appears with the whole file, and no other name meanwhile`, async () => {
      using scratch = new Scratch()
      const running = startCli(['dump', String(target.pid), '--strategy', strategy, '-o', 'x.core'], { cwd: scratch.path })
      let ended = false
      let looks = 0
      void running.done.then(() => { ended = true })
      for (let seen = false; !ended; looks++) {
        const names = readdirSync(scratch.path)
        assert.deepEqual(names.filter((name) => name !== 'x.core'), [])
        if (names.length > 0 && !seen) {
          seen = true
          assertWhole(readFileSync(scratch.file('x.core')))
        }
        await sleep(0)
      }
      assert.equal((await running.done).code, 0)
      assert.ok(looks > 20, `only ${looks} looks`)
      scratch.assertHolds('x.core')
      await target.assertUnharmed()
    })
  }

  test('only its owner may read it, whatever the umask', async () => {
    using scratch = new Scratch()
    const { code } = await runCli(['dump', String(target.pid), '-o', 'x.core'], { cwd: scratch.path, before: ['sh', '-c', 'umask 0; exec "$@"', 'sh'] })
    assert.equal(code, 0)
    assert.equal(statSync(scratch.file('x.core')).mode & 0o777, 0o600)
    writeFileSync(scratch.file('y.core'), 'old', { mode: 0o644 })
    await dump(scratch, '-o', 'y.core', '--force')
    assert.equal(statSync(scratch.file('y.core')).mode & 0o777, 0o600)
  })

  test('pages of zeros take no room on the disk', async () => {
    using scratch = new Scratch()
    const json = JSON.parse(await dump(scratch, '-o', 'x.core', '--json')) as { fileBytes: number; writtenBytes: number; zeroPages: number }
    const stat = statSync(scratch.file('x.core'))
    assert.equal(stat.size, json.fileBytes)
    assert.ok(json.zeroPages > 0)
    // ext4 may keep a few blocks for itself.
    assert.ok(stat.blocks * 512 <= json.writtenBytes + 256 * 1024, `${stat.blocks * 512} bytes on the disk, ${json.writtenBytes} written`)
    assert.ok(stat.blocks * 512 < stat.size)
  })

  test('--force replaces the file at once, and who had the old one open keeps it', async () => {
    using scratch = new Scratch()
    writeFileSync(scratch.file('x.core'), 'precious')
    const old = openSync(scratch.file('x.core'), 'r')
    try {
      const running = startCli(['dump', String(target.pid), '--force', '-o', 'x.core'], { cwd: scratch.path })
      let ended = false
      void running.done.then(() => { ended = true })
      while (!ended) {
        // Never absent, never half: the old or the new one.
        const bytes = readFileSync(scratch.file('x.core'))
        if (bytes.toString('latin1', 0, 8) !== 'precious') assertWhole(bytes)
        await sleep(5)
      }
      assert.equal((await running.done).code, 0)
      const kept = Buffer.alloc(8)
      assert.equal(readSync(old, kept, 0, 8, 0), 8)
      assert.equal(kept.toString(), 'precious')
      assert.notEqual(fstatSync(old).ino, statSync(scratch.file('x.core')).ino)
      scratch.assertHolds('x.core')
    } finally {
      closeSync(old)
    }
  })

  test('a symbolic link that leads nowhere is not written through without --force', async () => {
    using scratch = new Scratch()
    symlinkSync('elsewhere.core', scratch.file('x.core'))
    const { code } = await runCli(['dump', String(target.pid), '-o', 'x.core'], { cwd: scratch.path })
    // Taken or followed, but not silently replaced.
    assert.notEqual(code, 0)
    scratch.assertHolds('x.core')
  })

  test('a pipe, standard output as a file and a named file all get a whole core', async () => {
    using scratch = new Scratch()
    const piped = await runCli(['dump', String(target.pid), '-o', '-'], { cwd: scratch.path })
    assert.equal(piped.code, 0, piped.stderr)
    assertWhole(piped.stdout)
    const file = openSync(scratch.file('stdout.core'), 'w')
    try {
      const redirected = await runCli(['dump', String(target.pid), '-o', '-'], { cwd: scratch.path, stdout: file })
      assert.equal(redirected.code, 0, redirected.stderr)
    } finally {
      closeSync(file)
    }
    assertWhole(readFileSync(scratch.file('stdout.core')))
    scratch.assertHolds('stdout.core')
    await target.assertUnharmed()
  })

  test('a pipe gets the bytes that a file would, of a target that stands still', async () => {
    using scratch = new Scratch()
    await using still = await Target.start({ mib: 4, threads: 0 })
    // The kernel writes the number of its processor into the thread's rseq area when it next runs there.
    execFileSync('taskset', ['-cp', '0', String(still.pid)])
    await still.assertUnharmed()
    const piped = await runCli(['dump', String(still.pid), '--strategy', 'stop', '-o', '-'])
    const named = await runCli(['dump', String(still.pid), '--strategy', 'stop', '-o', scratch.file('x.core')])
    assert.equal(piped.code, 0, piped.stderr)
    assert.equal(named.code, 0, named.stderr)
    const [fromPipe, fromFile] = [decode(piped.stdout), decode(readFileSync(scratch.file('x.core')))]
    assert.deepEqual(fromPipe.segments, fromFile.segments)
    const memory = (bytes: Buffer) => fromFile.segments.filter(({ writable }) => writable).map(({ fileOffset, fileBytes }) => bytes.subarray(fileOffset, fileOffset + fileBytes))
    const other = memory(readFileSync(scratch.file('x.core')))
    for (const [i, bytes] of memory(piped.stdout).entries()) {
      const differing = [...bytes.keys()].filter((at) => bytes[at] !== other[i]![at])
      assert.deepEqual(differing.slice(0, 16), [], `bytes of segment ${i}`)
    }
  })
})
