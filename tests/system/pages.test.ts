// Every page of a process, against a guest that makes pages of each kind on purpose, and against the kernel's own sums.
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { after, before, describe, test, type TestContext } from 'node:test'
import { pages, type PagesReport } from 'tidemark'
import { startGuestOrSkip, guestsUnavailable, type Guest, type PagekindsInfo } from '../support/guest.ts'
import { drawRegion } from '../support/page-drawing.ts'
import { differences, readSmaps } from '../support/smaps.ts'
import { untilTaskState } from '../support/task-state.ts'
import { zramSwap, zramUnavailable } from '../support/zram-swap.ts'

const HUGE_PAGES = '/proc/sys/vm/nr_hugepages'
const HUGE_PAGES_NEEDED = 4
const skip = guestsUnavailable()

async function standStill(guest: Guest<unknown>): Promise<void> {
  guest.kill('SIGSTOP')
  await untilTaskState(guest.pid, ({ threads }) => threads.every(({ state }) => state === 'T'))
}

/** Has some huge pages, if we may; the number is what it was afterwards. */
function reserveHugePages(): () => void {
  if (process.getuid?.() !== 0) return () => {}
  const change = (by: number): void => writeFileSync(HUGE_PAGES, String(Number(readFileSync(HUGE_PAGES, 'utf8')) + by))
  change(HUGE_PAGES_NEEDED)
  return () => change(-HUGE_PAGES_NEEDED)
}

async function surveyed(t: TestContext, args: readonly string[], body: (guest: Guest<PagekindsInfo>, report: PagesReport) => Promise<void> | void): Promise<void> {
  await using guest = await startGuestOrSkip(t, 'pagekinds', args)
  if (guest === undefined) return
  await standStill(guest)
  await body(guest, await pages(guest.pid, { ranges: true }))
  guest.kill('SIGCONT')
  const verdict = await guest.finish()
  assert.equal(verdict.kind, 'ok', JSON.stringify(verdict))
}

function assertDrawn(guest: Guest<PagekindsInfo>, report: PagesReport): void {
  const told = Object.fromEntries(guest.info.regions.map((region) => [region.name, drawRegion(report, region)]))
  assert.deepEqual(told, Object.fromEntries(guest.info.regions.map(({ name, drawing }) => [name, drawing])))
}

function assertAgrees(pid: number, report: PagesReport): void {
  const smaps = readSmaps(pid)
  assert.deepEqual(report.mappings.flatMap((mapping) => differences(mapping, smaps.get(mapping.start), report.pageBytes)), [])
  assert.equal(report.mappings.length, smaps.size)
}

describe('pages made on purpose', { skip }, () => {
  let release = (): void => {}
  before(() => { release = reserveHugePages() })
  after(() => { release() })

  test('each page is told as what the program made it, and smaps says the same sums', (t) => surveyed(t, [], (guest, report) => {
    t.diagnostic(guest.info.regions.map(({ name }) => name).join(', '))
    assertDrawn(guest, report)
    assertAgrees(guest.pid, report)
  }))

  test('pages in swap are told from marks, in private and in shared memory, in the swap cache too', { skip: zramUnavailable() }, async (t) => {
    using _ = zramSwap(256)
    await surveyed(t, ['swap'], (guest, report) => {
      assert.ok(guest.info.regions.some(({ name }) => name === 'swap cache'))
      assertDrawn(guest, report)
      assertAgrees(guest.pid, report)
    })
  })
})
