import assert from 'node:assert/strict'
import { closeSync, openSync } from 'node:fs'
import { test } from 'node:test'
import { PageState } from '../kernel/page-tables.ts'
import { RegionList } from '../memory/region-list.ts'
import { startExtra } from './extra.ts'
import { openLinuxKernel } from './linux-kernel.ts'
import { PagemapEntries } from './pagemap-entries.ts'

const POPULATED = { all: 0, none: 0, any: PageState.present | PageState.swapped, report: PageState.present, protect: false, trackedOnly: false }

function regions(list: RegionList): number[][] {
  return Array.from({ length: list.length }, (_, i) => [list.starts[i]!, list.ends[i]!, list.states[i]!])
}

test('PAGEMAP_SCAN and the entries read one by one agree on what is populated, whatever the size of the list', async () => {
  using kernel = openLinuxKernel()
  using extra = startExtra()
  await new Promise((resolve) => setTimeout(resolve, 100)) // until it sleeps, and its memory rests
  using process = kernel.openProcess(extra.pid)
  const file = openSync(`/proc/${extra.pid}/pagemap`, 'r')
  const entries = new PagemapEntries(file)
  let pages = 0
  for (const mapping of process.mappings()) {
    if (mapping.path === '[vsyscall]') continue
    const scanned = new RegionList(4096)
    assert.deepEqual(process.pageTables.scan(mapping, POPULATED, scanned), { kind: 'done' })
    const read = new RegionList(4096)
    assert.deepEqual(entries.scan(mapping, POPULATED, read), { kind: 'done' })
    assert.deepEqual(regions(read), regions(scanned), mapping.path)
    pages += read.pageCount()
    const piece = new RegionList(1)
    const pieces: number[][] = []
    for (let start = mapping.start; ;) {
      piece.clear()
      const outcome = entries.scan({ start, end: mapping.end }, POPULATED, piece)
      pieces.push(...regions(piece))
      if (outcome.kind !== 'full') break
      start = outcome.next
    }
    assert.deepEqual(pieces, regions(scanned))
  }
  assert.ok(pages > 20, `only ${pages} pages are populated`)
  closeSync(file)
})
