/**
 * Does tracking report every page that was written? One list of cases for every tracker that this machine has, held against a
 * guest that knows what it wrote; first against an oracle, which tries the guest and the contract themselves.
 */
import assert from 'node:assert/strict'
import { after, before, describe, test, type TestContext } from 'node:test'
import { TRACKER_NAMES } from 'tidemark'
import { guestsUnavailable } from '../support/guest.ts'
import { MemoryMirror } from '../support/memory-mirror.ts'
import { reserveHugePages, runKsm } from '../support/machine-memory.ts'
import { type Need, TRACKER_CASES, type TrackerCase } from '../support/tracker-cases.ts'
import { ReportedPages } from '../support/tracker-check.ts'
import { CommandUnavailable } from '../support/scribe.ts'
import { emptyTally, Stand, type Tally, type Timing } from '../support/tracker-runner.ts'
import { beginTracking, oracleSubject, type Subject, trackerSubject, trackerUnavailable } from '../support/tracker-subjects.ts'
import { ZramSwap, zramUnavailable } from '../support/zram-swap.ts'

const skip = guestsUnavailable()
const HUGE_PAGES = 8
const SWAP_BYTES = 64 << 20
const REPORTS_UNDER_THREADS = 25

const granted = new Map<Need, Disposable>()
const NEEDS: Readonly<Record<Need, { readonly ask: () => Disposable | undefined; readonly missing: string }>> = {
  swap: { ask: () => zramUnavailable() === false ? new ZramSwap(SWAP_BYTES) : undefined, missing: 'no zram device can be added for swap' },
  hugetlb: { ask: () => reserveHugePages(HUGE_PAGES), missing: 'no huge pages can be reserved' },
  ksm: { ask: runKsm, missing: 'KSM cannot be switched on' },
}

before(() => {
  if (skip !== false) return
  for (const need of Object.keys(NEEDS) as Need[]) {
    const grant = NEEDS[need].ask()
    if (grant !== undefined) granted.set(need, grant)
  }
})

function giveBack(): void {
  for (const grant of granted.values()) grant[Symbol.dispose]()
  granted.clear()
}

after(giveBack)
// The hooks do not run when the test file itself is broken off.
process.once('exit', giveBack)
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.once(signal, () => process.exit(1))

function missingFor(one: TrackerCase): string | undefined {
  return one.needs === undefined || granted.has(one.needs) ? undefined : NEEDS[one.needs].missing
}

/** Everything is made first, then tracking begins, then each case takes its steps. */
async function takeOldMemory(t: TestContext, stand: Stand, cases: readonly TrackerCase[], tallies: Map<string, Tally>): Promise<void> {
  const unavailable = new Map<TrackerCase, string>()
  for (const [i, one] of cases.entries()) {
    const missing = missingFor(one)
    const outcome = missing === undefined ? await stand.setUp(one, `${i}.`) : { unavailable: missing }
    if (outcome !== 'done') unavailable.set(one, outcome.unavailable)
  }
  await stand.begin()
  for (const [i, one] of cases.entries()) {
    await t.test(one.name, { skip: unavailable.get(one) ?? false }, (t) => takeOne(t, stand, one, `${i}.`, tallies))
  }
}

async function takeNewMemory(t: TestContext, stand: Stand, cases: readonly TrackerCase[], tallies: Map<string, Tally>): Promise<void> {
  await stand.begin()
  for (const [i, one] of cases.entries()) {
    await t.test(one.name, { skip: missingFor(one) ?? false }, async (t) => {
      const outcome = await stand.setUp(one, `${i}.`)
      if (outcome !== 'done') t.skip(outcome.unavailable)
      else await takeOne(t, stand, one, `${i}.`, tallies)
    })
  }
}

async function takeOne(t: TestContext, stand: Stand, one: TrackerCase, prefix: string, tallies: Map<string, Tally>): Promise<void> {
  const tally = emptyTally()
  tallies.set(one.name, tally)
  try {
    await stand.take(t, one, prefix, tally)
  } catch (error) {
    if (!(error instanceof CommandUnavailable)) throw error
    t.skip(error.message)
  } finally {
    if (stand.usable) await stand.cleanUp(prefix)
  }
}

function tellTallies(t: TestContext, name: string, tallies: ReadonlyMap<string, Tally>): void {
  const sum = emptyTally()
  for (const [one, { changed, reported, over, covered, repeated }] of tallies) {
    sum.changed += changed
    sum.reported += reported
    sum.over += over
    sum.covered += covered
    sum.repeated += repeated
    if (over + covered + repeated > 0) t.diagnostic(`${name}: ${one}: ${changed} changed, ${reported} reported, of them ${over} unchanged; ${covered} under a blind spot; ${repeated} again`)
  }
  t.diagnostic(`${name}: ${tallies.size} cases, ${sum.changed} pages changed, ${sum.reported} reported, of them ${sum.over} unchanged; ${sum.covered} under a blind spot`)
}

const TAKES: Readonly<Record<Timing, typeof takeOldMemory>> = { 'old memory': takeOldMemory, 'settled memory': takeNewMemory, 'new memory': takeNewMemory }

function contract(subject: Subject, timings: readonly Timing[]): void {
  for (const timing of timings) {
    test(`${timing}: every page that was written is reported, and none again`, async (t) => {
      const tallies = new Map<string, Tally>()
      await using together = await Stand.start(subject, timing)
      await TAKES[timing](t, together, TRACKER_CASES.filter(({ alone }) => !alone), tallies)
      for (const one of TRACKER_CASES.filter(({ alone }) => alone)) {
        await using apart = await Stand.start(subject, timing)
        await TAKES[timing](t, apart, [one], tallies)
        await apart.scribe.finish()
      }
      await together.scribe.finish()
      tellTallies(t, subject.name, tallies)
    })
  }
}

/** Threads write all the while: nobody knows when which page, but a mirror that is kept by the reports must hold them all in the end. */
async function mirrorUnderThreads(t: TestContext, subject: Subject, kind: string, pages: number): Promise<void> {
  await using stand = await Stand.start(subject, 'old memory')
  const { scribe } = stand
  await scribe.perform(`map a ${kind} ${pages}`)
  await scribe.perform('write a')
  await scribe.perform('spin a 2')
  await stand.begin()
  const region = scribe.regions.get('a')!
  using mirror = new MemoryMirror(scribe.pid, { wanted: ({ start, end }) => start < region.end && region.start < end })
  await mirror.copyAll()
  let reportedPages = 0
  const collect = async (): Promise<void> => {
    const report = await stand.collect()
    reportedPages += report.writtenPages
    await mirror.update(report)
  }
  for (let i = 0; i < REPORTS_UNDER_THREADS; i++) await collect()
  await scribe.perform('halt')
  await collect()
  const { compared, found } = mirror.differences()
  const inRegion = found.filter(({ page }) => region.start <= page && page < region.end)
  assert.deepEqual(inRegion.map(({ page }) => page - region.start), [], `${subject.name}: pages of the ${kind} region that differ from the mirror: a write was missed`)
  assert.ok(compared >= pages)
  t.diagnostic(`${subject.name}: ${kind}: ${REPORTS_UNDER_THREADS + 1} reports of ${reportedPages} pages`)
  await scribe.finish()
}

describe('the oracle', { skip }, () => contract(oracleSubject(), ['new memory']))

for (const name of TRACKER_NAMES) {
  describe(name, { skip: skip || trackerUnavailable(name) }, () => {
    contract(trackerSubject(name), name === 'wp-async' ? ['old memory', 'settled memory', 'new memory'] : ['old memory', 'new memory'])
    for (const [kind, pages] of [['anon', 512], ['thp', 1024], ['memfd', 256], ['private-file', 256]] as const) {
      test(`threads write a ${kind} region all the while: none of it is missed`, (t) => mirrorUnderThreads(t, trackerSubject(name), kind, pages))
    }
  })
}

test('a mapping that the program itself holds with userfaultfd is followed by the next best tracker', { skip }, async (t) => {
  await using stand = await Stand.start({ ...trackerSubject('compare'), name: 'all trackers', begin: (pid) => beginTracking(pid, undefined) }, 'old memory')
  const one: TrackerCase = { name: 'owned', setup: ['map a owned 16', 'write a 0 8', 'map b anon 16', 'write b'], steps: ['write a 2 2', 'write b 3 1', 'collect', 'write a 12 1'] }
  await stand.setUp(one, '')
  await stand.begin()
  await stand.take(t, one, '', emptyTally())
  const pages = new ReportedPages(await stand.collect())
  assert.deepEqual(['a', 'b'].map((name) => pages.mappingAt(stand.scribe.regions.get(name)!.start)?.tracker), ['compare', 'wp-async'])
  await stand.scribe.finish()
})

test('a tracker that loses one page in fifty is found out, with the page and the command', { skip }, async (t) => {
  await using stand = await Stand.start(oracleSubject((page) => page % 50 === 7), 'old memory')
  const one: TrackerCase = { name: 'a region of 64 pages', setup: ['map a anon 64', 'write a'], steps: ['write a'] }
  await stand.setUp(one, '')
  await stand.begin()
  await assert.rejects(stand.take(t, one, '', emptyTally()), /oracle: page 0x[0-9a-f]+, page \d+ of a \(anon\), written, not reported; changed by command 3 "write a"; mapping: 0x/)
})
