// `tidemark pages` as its users run it: tables, one mapping, JSON, refusals, and with fewer rights.
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import type { PageStateName } from 'tidemark'
import { assertNoCrash, assertRefused, isRoot, runCli, sleep, startCli, type CliOptions } from '../support/cli.ts'
import { installForAll } from '../support/cli-for-all.ts'
import { skipTargets, skipWithout, stateOf, Target, tracerPidOf } from '../support/fixtures.ts'
import { startGuestOrSkip } from '../support/guest.ts'
import type { DrawnRegion } from '../support/guest-info.ts'
import { drawRegion, spell } from '../support/page-drawing.ts'
import { withPagekinds } from '../support/pagekinds.ts'
import { readTaskState } from '../support/task-state.ts'
import { ZramSwap, zramUnavailable } from '../support/zram-swap.ts'

interface PagesJson {
  readonly schema: string
  readonly pid: number
  readonly pageBytes: number
  readonly mappings: readonly {
    readonly start: string
    readonly end: string
    readonly perms: string
    readonly path: string
    readonly kind: string
    readonly tracker: string
    readonly mappedPages: number
    readonly unknownPages: number
    readonly untold?: string
    readonly ranges?: readonly { readonly start: string; readonly end: string; readonly state: PageStateName; readonly written: boolean }[]
  }[]
  readonly total: Readonly<Record<string, number>>
  readonly byKind: Readonly<Record<string, Readonly<Record<string, number>>>>
  readonly warnings: readonly string[]
}

async function lines(args: readonly string[], options: CliOptions = {}): Promise<string[]> {
  const { code, stdout, stderr } = await runCli(['pages', ...args], options)
  assert.equal(code, 0, stderr)
  assertNoCrash(stderr)
  return stdout.toString().split('\n').slice(0, -1)
}

async function json(args: readonly string[], options: CliOptions = {}): Promise<PagesJson> {
  const [line, ...rest] = await lines([...args, '--json'], options)
  assert.deepEqual(rest, [], 'one line')
  return JSON.parse(line!) as PagesJson
}

/** What the JSON of the mapping at a region says of it, as the guest draws it. */
async function drawn(pid: number, region: DrawnRegion, options: CliOptions = {}): Promise<{ readonly drawing: string; readonly untold: string | undefined }> {
  const { mappings, pageBytes } = await json([String(pid), '--mapping', region.start], options)
  assert.equal(mappings.length, 1)
  const stretches = mappings[0]!.ranges!.map(({ start, end, ...rest }) => ({ start: BigInt(start), end: BigInt(end), ...rest }))
  return { drawing: drawRegion(stretches, region, pageBytes), untold: mappings[0]!.untold }
}

describe('what it prints', { skip: skipTargets }, () => {
  test('a line for each mapping and the totals, in columns, with nothing on standard error', async () => {
    await using target = await Target.start()
    const { stderr, stdout } = await runCli(['pages', String(target.pid)])
    assert.equal(stderr, '')
    const [title, head, ...rows] = stdout.toString().split('\n').slice(0, -1)
    assert.match(title!, new RegExp(`^target \\(${target.pid}\\): ${rows.length - 1} mappings`))
    assert.match(head!, /^START +SIZE +PERMS +KIND +TRACKER +MAPPED .*HOLE +.*PATH$/)
    assert.ok(rows.some((row) => /^0x[0-9a-f]+ .* rw-p +anon +\S+ .*\[heap\]$/.test(row)), stdout.toString())
    assert.match(rows.at(-1)!, /^total +/)
    await target.assertUnharmed()
  })

  test('--json has the fields of its contract', async () => {
    await using target = await Target.start()
    const report = await json([String(target.pid)])
    assert.deepEqual([report.schema, report.pid, report.pageBytes], ['tidemark.pages/1', target.pid, report.pageBytes])
    const counts = ['mappedPages', 'cachedPages', 'swappedPages', 'fallocatedPages', 'holePages', 'zeroPages', 'guardPages', 'hugePages']
    for (const mapping of report.mappings) {
      for (const name of counts) assert.ok(Number.isSafeInteger((mapping as unknown as Record<string, unknown>)[name]), name)
      for (const at of [mapping.start, mapping.end]) assert.match(at, /^0x[0-9a-f]{16}$/)
      assert.match(mapping.perms, /^[r-][w-][x-][ps]$/)
      assert.ok(['anon', 'file', 'shmem', 'hugetlb', 'special'].includes(mapping.kind))
      assert.ok(['wp-async', 'soft-dirty', 'wp-sync', 'compare', 'none'].includes(mapping.tracker))
      assert.equal(mapping.ranges, undefined)
    }
    for (const name of counts) assert.ok(Number.isSafeInteger(report.total[name]), name)
    assert.deepEqual(report.warnings, [])
  })

  test('--summary sums by kind, as --json has it', async () => {
    await using target = await Target.start()
    process.kill(target.pid, 'SIGSTOP')
    const { byKind } = await json([String(target.pid)])
    const [, , ...rows] = await lines([String(target.pid), '--summary'])
    process.kill(target.pid, 'SIGCONT')
    assert.deepEqual(rows.map((row) => row.split(' ')[0]), [...Object.keys(byKind), 'total'])
    // The first number after the size with its unit.
    assert.equal(rows[0]!.split(/ +/)[3], String(byKind['anon']!['mappedPages']))
  })

  test('--mapping draws the pages of a mapping and lists their ranges', (t) => withPagekinds(t, [], async (guest) => {
    const region = guest.info.regions.find(({ name }) => name === 'memfd')!
    const text = await lines([String(guest.pid), '--mapping', region.start])
    assert.ok(text.includes('  ========ffff----'), text.join('\n'))
    assert.ok(text.some((line) => line.includes('= mapped') && line.includes('f fallocated') && line.includes('- hole')))
    assert.ok(text.some((line) => /^0x[0-9a-f]+ +0x[0-9a-f]+ +8 +mapped, file$/.test(line)))
    assert.equal((await lines([String(guest.pid), '--mapping', '/memfd:twice'])).filter((line) => line.endsWith('/memfd:twice (deleted)')).length, 3)
    const large = guest.info.regions.find(({ name }) => name === 'untouched')!
    assert.ok((await lines([String(guest.pid), '--mapping', large.start])).some((line) => line.includes('a sign for 256 pages: - hole')))
    assert.ok((await lines([String(guest.pid), '--mapping', `${region.start}-0x${(BigInt(region.start) + 4096n).toString(16)}`])).length > 5, 'as maps prints it')
  }))

  test('a mapping of many ranges is printed whole, through a pipe that reads slowly', async (t) => {
    await using guest = await startGuestOrSkip(t, 'pagekinds', ['spread', '512'])
    if (guest === undefined) return
    const running = startCli(['pages', String(guest.pid), '--mapping', guest.info.regions[0]!.start], { stdout: 'unread' })
    const stdout = running.child.stdout!.pause()
    const ended = once(stdout, 'end')
    let text = ''
    stdout.on('data', (piece: Buffer) => { text += piece.toString() })
    await sleep(1500)
    stdout.resume()
    await ended
    assert.equal((await running.done).code, 0)
    assert.equal(text.match(/^0x.* mapped$/gm)?.length, 65536)
    assert.equal(text.match(/^0x.* hole$/gm)?.length, 65536)
  })

  test('--help shows examples', async () => {
    const help = (await lines(['--help'])).join('\n')
    for (const word of ['Examples:', '--mapping', '--summary', '--json', 'tidemark pages 4242']) assert.ok(help.includes(word), word)
  })
})

describe('what it refuses', () => {
  const kernelThread = readdirSync('/proc').find((pid) => {
    try {
      return /^\d+$/.test(pid) && /^Kthread:\s*1/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
    } catch {
      return false
    }
  })

  test('a process that is gone, a kernel thread, a thread, and words that mean nothing have each one line and their code', { skip: skipTargets }, async () => {
    const { pid: gone } = spawnSync('true')
    assertRefused(await runCli(['pages', String(gone)]), 5, new RegExp(`no process ${gone}`))
    if (kernelThread !== undefined) assertRefused(await runCli(['pages', kernelThread]), 1, /kernel thread \(/)
    await using target = await Target.start()
    const tid = readTaskState(target.pid).threads.find((thread) => thread.tid !== target.pid)!.tid
    assertRefused(await runCli(['pages', String(tid)]), 2, new RegExp(`${tid} is a thread of process ${target.pid}`))
    for (const words of [['x'], ['0'], [], ['1', '2'], ['1', '--nothing']]) assert.equal((await runCli(['pages', ...words])).code, 2, words.join(' '))
    for (const which of ['', 'heap', '0x10000000000000000']) {
      assertRefused(await runCli(['pages', String(target.pid), '--mapping', which]), 2, /give an address in hexadecimal/)
    }
    for (const which of ['0x0', '/nonexistent']) assertRefused(await runCli(['pages', String(target.pid), '--mapping', which]), 2, /has no mapping .*\(`tidemark pages \d+` lists them\)/)
    await target.assertUnharmed()
  })

  test('another user\'s process is not permitted, and an own one is told', { skip: !isRoot && 'only root can be another user' || skipTargets }, async (t) => {
    const installed = installForAll()
    t.after(() => installed[Symbol.dispose]())
    const nobody = { uid: 65534, program: installed.program, cwd: '/' }
    await using foreign = await Target.start()
    assertRefused(await runCli(['pages', String(foreign.pid)], nobody), 3, /not permitted to look at the memory of process \d+ \(.*CAP_SYS_PTRACE/)
    await using own = await Target.start({ uid: 65534 })
    const report = await json([String(own.pid)], nobody)
    assert.ok(report.total['mappedPages']! > 0)
    await own.assertUnharmed()
    await foreign.assertUnharmed()
  })
})

test('a process in a debugger is told, and stays in it', { skip: skipTargets || skipWithout('gdb') }, async () => {
  await using target = await Target.start()
  const gdb = spawn('gdb', ['-q', '-nx', '-batch', '-ex', 'shell sleep 60', '-p', String(target.pid)], { stdio: 'ignore', detached: true })
  try {
    for (let i = 0; i < 500 && (tracerPidOf(target.pid) === 0 || readTaskState(target.pid).threads.some(({ state }) => state !== 't')); i++) await sleep(20)
    assert.ok((await json([String(target.pid)])).total['mappedPages']! > 0)
    assert.equal(tracerPidOf(target.pid), gdb.pid)
    assert.equal(stateOf(target.pid), 't')
  } finally {
    const gone = once(gdb, 'exit')
    process.kill(-gdb.pid!, 'SIGKILL')
    await gone
  }
})

/** Without these neither the entries' places in swap nor nameless shared memory are shown to us. */
const FEWER_RIGHTS = { before: ['setpriv', '--bounding-set=-sys_admin,-checkpoint_restore', '--'] }

const TRIED = new Set(['anon', 'memfd', 'shared anonymous', 'private file', 'marked memfd', 'marked file', 'poisoned', 'swapped memfd', 'swap cache'])

describe('with fewer rights', { skip: !isRoot && 'only root has rights to give away' || skipTargets || skipWithout('setpriv') || zramUnavailable() }, () => {
  test('what cannot be told is said to be unknown and why, and the rest is right', async (t) => {
    using _ = new ZramSwap(256 << 20)
    await withPagekinds(t, ['swap'], async (guest) => {
      let unknown = 0
      for (const region of guest.info.regions.filter(({ name }) => TRIED.has(name))) {
        const { drawing, untold } = await drawn(guest.pid, region, FEWER_RIGHTS)
        const told = spell(drawing)
        const expected = [...spell(region.drawing)]
        assert.ok([...told].every((sign, i) => sign === '?' || sign === expected[i]), `${region.name}: ${drawing} where ${region.drawing} is`)
        assert.equal(untold !== undefined, told.includes('?'), `${region.name}: ${untold}`)
        if (told.includes('?')) unknown++
      }
      t.diagnostic(`${unknown} of ${TRIED.size} regions in part unknown`)
      assert.ok(unknown > 0 && unknown < TRIED.size / 2)
    })
  })

  test('marks are not taken for swap, nor swap for marks', async (t) => {
    using _ = new ZramSwap(256 << 20)
    await withPagekinds(t, ['swap'], async (guest) => {
      const told = async (name: string) => (await drawn(guest.pid, guest.info.regions.find((region) => region.name === name)!, FEWER_RIGHTS)).drawing
      assert.equal(await told('marked'), '1=1+2=4-1+7-')
      assert.equal(await told('swapped'), '32s16=16-')
      assert.equal(await told('marked and swapped'), '8?8=16?', 'only which of them is which cannot be told')
      assert.equal(await told('guard'), '4=6g6-')
    })
  })
})
