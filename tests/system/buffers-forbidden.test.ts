// Tracking where something is missing: rights, userfaultfd, /proc. It works all the same, and says by what means.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { skipFollowing } from '../support/buffers.ts'
import { isRoot } from '../support/cli.ts'
import { installForAll } from '../support/cli-for-all.ts'
import { denySystemCalls } from '../support/seccomp.ts'

const NOBODY = 65534
const USERFAULTFD = 323
const OPENAT = 257

interface Answer {
  readonly tracker: string
  readonly why: string | null
  readonly code: string | null
  readonly message: string | null
}

/** Tracks, writes, copies and checks; and asks for 'wp-async' besides. */
const SCRIPT = `
  const buffer = new SharedArrayBuffer(1 << 20), bytes = new Uint8Array(buffer), copy = new Uint8Array(1 << 20)
  const tracked = trackBuffer(buffer)
  tracked.copyWritten(copy)
  for (let i = 0; i < 100; i++) {
    bytes[(i * 123457) % bytes.length] = i + 1
    if (!(tracked.written().bytes > 0)) throw new Error('a write was lost')
    tracked.copyWritten(copy)
    if (Buffer.compare(copy, bytes) !== 0) throw new Error('the copy differs')
  }
  let error = {}
  try { trackBuffer(buffer, { tracker: 'wp-async' }).end() } catch (caught) { error = caught }
  console.log(JSON.stringify({ tracker: tracked.tracker, why: tracked.compareReason ?? null, code: error.code ?? null, message: error.message ?? null }))`

describe('where something is forbidden', { skip: !isRoot && 'only root can be another user' || skipFollowing() }, () => {
  let installed: ReturnType<typeof installForAll>
  before(() => { installed = installForAll() })
  after(() => { installed[Symbol.dispose]() })

  function trackAs({ uid, denied = [], prepare = '' }: { readonly uid: number; readonly denied?: readonly number[]; readonly prepare?: string }): Answer {
    const dist = join(installed.root, 'dist')
    const script = `import { trackBuffer } from '${dist}/index.js'\n${denied.length > 0 ? denySystemCalls(dist, denied) : ''}\n${prepare}\n${SCRIPT}`
    const run = spawnSync(process.execPath, ['--input-type=module', '-e', script], { uid, gid: uid, cwd: '/', encoding: 'utf8' })
    assert.equal(run.status, 0, run.stderr)
    return JSON.parse(run.stdout) as Answer
  }

  test('a user without rights has the kernel follow its buffers', () => {
    assert.deepEqual(trackAs({ uid: NOBODY }), { tracker: 'wp-async', why: null, code: null, message: null })
  })

  const x64 = process.arch !== 'x64' && 'numbers are of x86-64'
  test('where the system call is denied, contents are compared, and the reason is told', { skip: x64 }, () => {
    const { tracker, why, code, message } = trackAs({ uid: NOBODY, denied: [USERFAULTFD] })
    assert.deepEqual({ tracker, why, code }, { tracker: 'compare', why: 'userfaultfd: EPERM', code: 'unsupported' })
    assert.match(message ?? '', /the kernel cannot follow this buffer: userfaultfd: EPERM/)
  })

  test('who may open the device needs no system call', { skip: x64 || (!existsSync('/dev/userfaultfd') && 'there is no /dev/userfaultfd') }, () => {
    assert.equal(trackAs({ uid: 0, denied: [USERFAULTFD] }).tracker, 'wp-async')
  })

  test('where no file can be opened any more, contents are compared', { skip: x64 }, () => {
    const { tracker, why } = trackAs({ uid: NOBODY, denied: [OPENAT] })
    assert.equal(tracker, 'compare')
    assert.match(why ?? '', /open \/proc\/self\/pagemap: EPERM/)
  })

  test('a process that has given up its rights, and whose /proc is closed to it, compares', () => {
    const { tracker, why } = trackAs({ uid: 0, prepare: `process.setgid(${NOBODY}); process.setuid(${NOBODY})` })
    assert.equal(tracker, 'compare')
    assert.match(why ?? '', /open \/proc\/self\/pagemap: EACCES/)
  })
})
