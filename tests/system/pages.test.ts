// Every page of a process, against a guest that makes pages of each kind on purpose, and against the kernel's own sums.
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { attach, isTidemarkError, pages, type PagesReport } from 'tidemark'
import { guestsUnavailable, startGuestOrSkip, type Guest, type PagekindsInfo } from '../support/guest.ts'
import { drawRegion, spell, stretchesOf } from '../support/page-drawing.ts'
import { reserveHugePages, withPagekinds } from '../support/pagekinds.ts'
import { assertAgrees } from '../support/smaps.ts'
import { leftBehind, readTaskState } from '../support/task-state.ts'
import { ZramSwap, zramUnavailable } from '../support/zram-swap.ts'

const skip = guestsUnavailable()

function assertDrawn({ info }: Guest<PagekindsInfo>, report: PagesReport): void {
  const told = Object.fromEntries(info.regions.map((region) => [region.name, drawRegion(stretchesOf(report), region, report.pageBytes)]))
  assert.deepEqual(told, Object.fromEntries(info.regions.map(({ name, drawing }) => [name, drawing])))
}

/** The mapping a region lies in. */
function mappingOf({ info }: Guest<PagekindsInfo>, report: PagesReport, name: string): PagesReport['mappings'][number] | undefined {
  const start = info.regions.find((region) => region.name === name)?.start
  return start === undefined ? undefined : report.mappings.find((mapping) => BigInt(mapping.start) <= BigInt(start) && BigInt(start) < BigInt(mapping.end))
}

describe('pages made on purpose', { skip }, () => {
  let reserved: Disposable
  before(() => { reserved = reserveHugePages() })
  after(() => { reserved[Symbol.dispose]() })

  test('each page is told as what the program made it, and smaps says the same sums', (t) => withPagekinds(t, [], async (guest) => {
    t.diagnostic(guest.info.regions.map(({ name }) => name).join(', '))
    const report = await pages(guest.pid, { ranges: true })
    assertDrawn(guest, report)
    assertAgrees(guest.pid, report)
  }))

  test('pages in swap are told from marks, in private and in shared memory, in the swap cache too', { skip: zramUnavailable() }, async (t) => {
    using _ = new ZramSwap(256 << 20)
    await withPagekinds(t, ['swap'], async (guest) => {
      assert.ok(guest.info.regions.some(({ name }) => name === 'swap cache'))
      const report = await pages(guest.pid, { ranges: true })
      assertDrawn(guest, report)
      assertAgrees(guest.pid, report)
    })
  })

  test('states add up to each mapping, and mappings to the totals', (t) => withPagekinds(t, [], async ({ pid }) => {
    const { mappings, total, byKind, pageBytes } = await pages(pid)
    const states = ['mapped', 'zero', 'cached', 'swapped', 'fallocated', 'hole', 'uncached', 'guard', 'poisoned', 'pastEnd', 'special', 'unknown'] as const
    for (const mapping of mappings) {
      assert.equal(mapping.pages, Number(BigInt(mapping.end) - BigInt(mapping.start)) / pageBytes)
      assert.equal(states.reduce((sum, state) => sum + mapping[`${state}Pages`], 0), mapping.pages, mapping.start)
      assert.equal(mapping.anonPages + mapping.filePages, mapping.mappedPages, mapping.start)
      assert.equal(mapping.ranges, undefined, 'not asked for')
    }
    for (const key of ['pages', 'mappedPages', 'holePages', 'cachedPages', 'writtenPages'] as const) {
      assert.equal(total[key], mappings.reduce((sum, mapping) => sum + (mapping[key] ?? 0), 0), key)
      assert.equal(total[key], Object.values(byKind).reduce((sum, counts) => sum + (counts[key] ?? 0), 0), key)
    }
  }))

  test('each mapping has its kind and its tracker, and what a userfaultfd has already is compared', (t) => withPagekinds(t, [], async (guest) => {
    const report = await pages(guest.pid)
    const expected = {
      'anon': 'anon', 'guard': 'anon', 'thp': 'anon', 'hugetlb': 'hugetlb', 'memfd': 'shmem', 'memfd copied on write': 'shmem', 'shared anonymous': 'shmem',
      'private file': 'file', 'shared file': 'file',
    }
    for (const [name, kind] of Object.entries(expected)) {
      const mapping = mappingOf(guest, report, name)
      if (mapping === undefined) continue // This kernel has no such thing.
      assert.equal(mapping.kind, kind, name)
      assert.equal(mapping.tracker, 'wp-async', `${name}: ${mapping.trackerWhy}`)
      assert.equal(mapping.writtenPages, undefined, 'nothing follows writes to it')
    }
    for (const name of ['marked', 'marked memfd', 'marked file']) {
      const mapping = mappingOf(guest, report, name)
      if (mapping === undefined) continue
      assert.match(`${mapping.tracker}: ${mapping.trackerWhy}`, /^(compare|soft-dirty): another userfaultfd/)
      const signs = spell(guest.info.regions.find((region) => region.name === name)!.drawing)
      assert.equal(mapping.writtenPages, signs.replaceAll(/[^+]/g, '').length, name)
    }
    for (const mapping of report.mappings.filter(({ path }) => /^\[v/.test(path))) assert.deepEqual([mapping.kind, mapping.tracker], ['special', 'none'])
  }))

  test('the tracker that is told is the one that then follows the mapping', (t) => withPagekinds(t, [], async (guest) => {
    await using target = await attach(guest.pid)
    const told = await target.pages()
    await using tracking = await target.track()
    const { mappings } = await tracking.collect()
    const byStart = new Map(mappings.map((mapping) => [mapping.start, mapping.tracker]))
    const differing = told.mappings.filter(({ start, tracker }) => byStart.get(start) !== tracker)
    assert.deepEqual(differing.map(({ start, kind, path, tracker }) => `${start} ${kind} ${path}: ${tracker} is told and ${byStart.get(start)} follows`), [])
  }))

  test('one mapping, or all of a path, can be asked for', (t) => withPagekinds(t, [], async (guest) => {
    await using target = await attach(guest.pid)
    const all = await target.pages()
    const memfd = mappingOf(guest, all, 'memfd')!
    const one = await target.pages({ only: { kind: 'address', address: BigInt(memfd.end) - 1n } })
    assert.deepEqual(one.mappings, [memfd])
    assert.equal(one.total.pages, memfd.pages)
    for (const path of ['/memfd:twice', '/memfd:twice (deleted)']) {
      const { mappings } = await target.pages({ only: { kind: 'path', path } })
      assert.deepEqual(mappings, all.mappings.filter((mapping) => mapping.path === '/memfd:twice (deleted)'))
      assert.equal(mappings.length, 3)
    }
    await assert.rejects(target.pages({ only: { kind: 'address', address: 0n } }), (error) => isTidemarkError(error) && error.code === 'usage' && /no mapping at 0x0/.test(error.message))
  }))
})

test('no page is touched: none is brought in, none counts as referenced, no fault is taken', { skip: skip || zramUnavailable() }, async (t) => {
  using _ = new ZramSwap(256 << 20)
  await withPagekinds(t, ['swap'], async (guest) => {
    writeFileSync(`/proc/${guest.pid}/clear_refs`, '1')
    const look = () => ({ smaps: sumsOfSmaps(guest.pid), faults: faultsOf(guest.pid) })
    const before = look()
    for (let i = 0; i < 3; i++) assertDrawn(guest, await pages(guest.pid, { ranges: true }))
    assert.deepEqual(look(), before)
  })
})

/** Minor and major faults, /proc/PID/stat. */
function faultsOf(pid: number): string[] {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  return [fields[7]!, fields[9]!]
}

/** Of memory that is the guest's alone: the pages of files with a name, and [vdso], are referenced by others too. */
function sumsOfSmaps(pid: number): string[] {
  const mappings = readFileSync(`/proc/${pid}/smaps`, 'utf8').split(/^(?=[0-9a-f]+-)/m).filter((text) => {
    const head = text.split('\n')[0]!
    const [inode, path = ''] = head.split(/ +/).slice(4)
    return (inode === '0' && !path.startsWith('[v')) || head.endsWith(' (deleted)')
  })
  return mappings.flatMap((text) => text.split('\n').filter((line, i) => i === 0 || /^(Rss|Referenced|Swap):/.test(line)))
}

test('a program may look at its own pages', async () => {
  const { total, pid } = await pages(process.pid)
  assert.equal(pid, process.pid)
  assert.ok(total.mappedPages > 1000)
})

test('the process runs on as it was', { skip }, async (t) => {
  await using guest = await startGuestOrSkip(t, 'odd', ['spin'])
  if (guest === undefined) return
  const before = readTaskState(guest.pid)
  await using target = await attach(guest.pid)
  for (let i = 0; i < 20; i++) await target.pages({ ranges: true })
  assert.deepEqual(leftBehind(before, readTaskState(guest.pid)), [])
  const verdict = await guest.finish()
  assert.equal(verdict.kind, 'ok', JSON.stringify(verdict))
})

for (const mode of ['zombie-leader', 'many-mappings', 'sparse', 'own-uffd', 'stopped', 'vfork']) {
  test(`${mode}: every page is told`, { skip }, async (t) => {
    await using guest = await startGuestOrSkip(t, 'odd', [mode])
    if (guest === undefined) return
    const { total, mappings } = await pages(guest.pid, { ranges: true })
    assert.ok(total.mappedPages > 0 && mappings.length > 5)
    assert.equal(total.unknownPages, 0)
  })
}

for (const mode of ['exec-soon', 'exit-soon']) {
  test(`${mode}: a look ends with a report or with 'gone'`, { skip }, async (t) => {
    await using guest = await startGuestOrSkip(t, 'odd', [mode, '300'])
    if (guest === undefined) return
    const outcomes: string[] = []
    for (let i = 0; i < 12 && outcomes.at(-1) !== 'gone'; i++) {
      outcomes.push(await pages(guest.pid).then(() => 'report', (error: unknown) => (isTidemarkError(error) ? error.code : String(error))))
    }
    assert.deepEqual(outcomes.filter((outcome) => outcome !== 'report' && outcome !== 'gone'), [])
  })
}
