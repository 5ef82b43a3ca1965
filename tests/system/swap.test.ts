// What is in swap stays in swap: a dump neither makes its target large nor drives its working set out.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, test, type TestContext } from 'node:test'
import { capabilities, dump, type DumpResult, type StrategyName } from 'tidemark'
import { assertOneLine, runCli, Scratch, sleep } from '../support/cli.ts'
import { guestsUnavailable, startGuest, type Guest, type HotColdInfo, type WavefrontInfo } from '../support/guest.ts'
import { openCore } from '../support/image.ts'
import { groupsUnavailable, MemoryGroup } from '../support/memory-group.ts'
import { checkHotCold, checkWavefront } from '../support/wavefront-check.ts'
import { ZramSwap, zramUnavailable } from '../support/zram-swap.ts'

const MIB = 1 << 20
const HOT_MIB = 24
const COLD_MIB = 96
/** Less than hot and cold set together, more than the hot one and what a fork of it may cost. */
const LIMIT_MIB = 64
/** What may be in memory because of us at any time (4 MiB and a batch), and what the guest itself adds meanwhile. */
const TOLERANCE_MIB = 6
/** Of 6,144 hot pages: those the kernel takes while it swaps for its own reasons. */
const FAULTS_MAX = 200

const scratch = new Scratch()
const skip = guestsUnavailable() || zramUnavailable() || groupsUnavailable()
let swap: ZramSwap | undefined
before(() => { if (skip === false) swap = new ZramSwap(512 * MIB) })
after(() => {
  swap?.[Symbol.dispose]()
  scratch[Symbol.dispose]()
})

interface Look {
  readonly majorFaults: number
  readonly residentMib: number
  readonly groupMib: number
}

function look(pid: number, group: MemoryGroup): Look {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  return { majorFaults: Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[9]), residentMib: statusKib(pid, 'VmRSS') / 1024, groupMib: group.usedBytes / MIB }
}

function statusKib(pid: number, key: string): number {
  return Number(new RegExp(`^${key}:\\s*(\\d+)`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0)
}

/** A guest in a group in which everything but its hot set has been swapped out, by lowering the limit step by step. */
async function startSwappedOut(group: MemoryGroup, kind: HotColdInfo['kind']): Promise<Guest<HotColdInfo>> {
  const guest = await startGuest('hotcold', [String(HOT_MIB), String(COLD_MIB), ...(kind === 'anon' ? [] : [kind])], { before: group.before })
  for (const mib of [100, 80, 60, 45, HOT_MIB + 6]) {
    group.limit(mib * MIB)
    await sleep(100)
  }
  await sleep(300)
  return guest
}

async function finish(guest: Guest<HotColdInfo | WavefrontInfo>, group: MemoryGroup): Promise<void> {
  group.limit(1024 * MIB) // It checks its cold set.
  const verdict = await guest.finish()
  assert.equal(verdict.kind, 'ok', JSON.stringify(verdict))
}

function checkImage(guest: Guest<HotColdInfo>, output: string): void {
  using opened = openCore(output)
  assert.deepEqual(checkHotCold(guest.info, opened.image).problems, [])
}

for (const kind of ['anon', 'shared', 'file'] as const) {
  for (const strategy of ['stop', 'fork', 'precopy', 'auto'] as const) {
    test(`${strategy}, ${kind} memory: in a group with a limit, hot pages stay in and cold ones out`, { skip }, async (t) => {
      using group = new MemoryGroup(`tidemark-test-${process.pid}`)
      await using guest = await startSwappedOut(group, kind)
      group.limit(LIMIT_MIB * MIB)
      const output = scratch.file('kept.core')
      const earlier = look(guest.pid, group)
      const result = await dump(guest.pid, { output, replace: true, strategy, preserveWorkingSet: true })
      await sleep(500) // Hundreds of rounds through the hot set.
      const later = look(guest.pid, group)
      report(t, result, earlier, later)
      checkImage(guest, output)
      assert.ok(result.pagedInPages > 0.8 * guest.info.cold.pages, `${result.pagedInPages} of ${guest.info.cold.pages} pages were swapped out`)
      assert.ok(result.givenBackPages > 0.95 * result.pagedInPages, `${result.givenBackPages} of ${result.pagedInPages} given back`)
      assert.ok(later.majorFaults - earlier.majorFaults < FAULTS_MAX, `${later.majorFaults - earlier.majorFaults} major faults`)
      assert.ok(Math.abs(later.residentMib - earlier.residentMib) < TOLERANCE_MIB, `resident ${earlier.residentMib} and then ${later.residentMib} MiB`)
      assert.ok(Math.abs(later.groupMib - earlier.groupMib) < TOLERANCE_MIB, `the group used ${earlier.groupMib} and then ${later.groupMib} MiB`)
      // What was paged out again is not taken for written: the pause copies the hot set, and no cold page.
      if (strategy === 'precopy') assert.ok(result.dirtyAtPausePages < 1.2 * guest.info.hot.pages, `${result.dirtyAtPausePages} pages in the pause`)
      await finish(guest, group)
    })
  }
}

for (const [strategy, kind] of [['stop', 'anon'], ['stop', 'shared'], ['fork', 'anon'], ['precopy', 'anon'], ['precopy', 'shared']] as const) {
  test(`${strategy}, ${kind} memory: without the option what was read stays in memory`, { skip }, async (t) => {
    using group = new MemoryGroup(`tidemark-test-${process.pid}`)
    await using guest = await startSwappedOut(group, kind)
    group.limit(1024 * MIB)
    const output = scratch.file('spent.core')
    const earlier = look(guest.pid, group)
    const result = await dump(guest.pid, { output, replace: true, strategy, preserveWorkingSet: false })
    const later = look(guest.pid, group)
    report(t, result, earlier, later)
    checkImage(guest, output)
    assert.equal(result.givenBackPages, 0)
    assert.ok(later.groupMib - earlier.groupMib > COLD_MIB / 2, `the group used ${earlier.groupMib} and then ${later.groupMib} MiB`)
    // A fork's pages go with it; what it read from swap remains in the swap cache.
    if (strategy !== 'fork') assert.ok(later.residentMib - earlier.residentMib > COLD_MIB / 2, `resident ${earlier.residentMib} and then ${later.residentMib} MiB`)
    await finish(guest, group)
  })
}

function report(t: TestContext, result: DumpResult, earlier: Look, later: Look): void {
  const ms = (ns: number): string => `${(ns / 1e6).toFixed(0)} ms`
  t.diagnostic(`${result.strategy}: pause ${ms(result.pauseNs)} of ${ms(result.totalNs)}, paged in ${result.pagedInPages}, given back ${result.givenBackPages}; `
    + `major faults +${later.majorFaults - earlier.majorFaults}, resident ${earlier.residentMib.toFixed(0)} to ${later.residentMib.toFixed(0)} MiB, group ${earlier.groupMib.toFixed(0)} to ${later.groupMib.toFixed(0)} MiB`)
}

for (const strategy of ['stop', 'fork', 'precopy'] as const satisfies readonly StrategyName[]) {
  test(`${strategy}: images of a wave through memory that is partly in swap are of one instant`, { skip }, async (t) => {
    using group = new MemoryGroup(`tidemark-test-${process.pid}`)
    await using guest = await startGuest('wavefront', ['2', '1024', 'pace=20000', 'cold=4096'], { before: group.before })
    for (const mib of [40, 30, 20]) {
      group.limit(mib * MIB)
      await sleep(100)
    }
    let pagedIn = 0
    for (let i = 0; i < 8; i++) {
      const output = scratch.file('wave.core')
      const result = await dump(guest.pid, { output, replace: true, strategy })
      pagedIn += result.pagedInPages
      using opened = openCore(output)
      assert.deepEqual(checkWavefront(guest.info, opened.image).problems, [], `dump ${i}, ${JSON.stringify(result)}`)
    }
    t.diagnostic(`${pagedIn} pages came from swap`)
    assert.ok(pagedIn > 8 * 2048, `${pagedIn} pages came from swap`)
    await finish(guest, group)
  })
}

test('who may not page out is told so at once when it was asked for, and afterwards when it was not', { skip }, async () => {
  using group = new MemoryGroup(`tidemark-test-${process.pid}`)
  await using guest = await startSwappedOut(group, 'anon')
  group.limit(1024 * MIB)
  const without = { before: ['setpriv', '--bounding-set', '-sys_nice', '--inh-caps', '-sys_nice'] }
  const words = ['dump', String(guest.pid), '-o', scratch.file('refused.core'), '--force', '--strategy', 'stop']
  const asked = await runCli([...words, '--preserve-working-set'], without)
  assertOneLine(asked)
  assert.match(asked.stderr, /CAP_SYS_NICE/)
  assert.equal(asked.code, 3)
  const residentMib = statusKib(guest.pid, 'VmRSS') / 1024
  assert.ok(residentMib < HOT_MIB + 20, 'nothing was read')
  const unasked = await runCli([...words, '--json'], without)
  assert.equal(unasked.code, 0, unasked.stderr)
  assert.match(unasked.stderr, /^Warning: \d+ pages that were in swap are in memory now: .*CAP_SYS_NICE/m)
  const json = JSON.parse(unasked.stdout.toString()) as DumpResult
  assert.ok(json.pagedInPages > 0.8 * guest.info.cold.pages && json.givenBackPages === 0, JSON.stringify(json))
  await finish(guest, group)
})

test('check finds that root may page out', { skip }, async () => {
  const found = (await capabilities()).capabilities.find(({ name }) => name === 'page-out')
  assert.equal(found?.available, true, JSON.stringify(found))
})
