/** How fast every page of a process is told, against the bare PAGEMAP_SCAN of the same page tables and the reading of smaps. */
import { readFileSync } from 'node:fs'
import { openLinuxKernel } from '#dist/linux/linux-kernel.js'
import { RegionList } from '#dist/memory/region-list.js'
import { PageState } from '#dist/kernel/page-tables.js'
import { attach, type PagesReport } from 'tidemark'
import { startGuest, type GuestInfos } from '../tests/support/guest.ts'
import { spreadOf } from './statistics.ts'
import { renderTable } from './table.ts'

const RUNS = 7
const QUERY = {
  all: 0, none: 0, any: PageState.present | PageState.swapped, report: PageState.present | PageState.swapped | PageState.file | PageState.zero | PageState.huge,
  protect: false, trackedOnly: false,
}

interface Course {
  readonly title: string
  readonly guest: keyof GuestInfos
  readonly args: readonly string[]
}

/** Prints a table; `mib` is the size of the populated processes. */
export async function benchPages(mib: number, say: (text: string) => void): Promise<void> {
  const courses: readonly Course[] = [
    { title: `${mib} MiB of 4 KiB pages`, guest: 'victim', args: [String(mib), '1'] },
    { title: `${mib} MiB of huge pages`, guest: 'victim', args: [String(mib), '1', 'thp'] },
    { title: '1 TiB, 64 pages touched', guest: 'odd', args: ['sparse', '64'] },
    { title: `every other page of ${mib >> 3} MiB, private and shared`, guest: 'pagekinds', args: ['spread', String(mib >> 3)] },
  ]
  const rows: string[][] = []
  for (const course of courses) rows.push(await runCourse(course))
  say(renderTable(['process', 'GiB of addresses', 'pages(), ms', 'GiB/s', 'scan, ms', 'smaps, ms', 'pages / scan'], rows))
}

async function runCourse({ title, guest: name, args }: Course): Promise<string[]> {
  await using guest = await startGuest(name, args, { readyWithinMs: 120_000 })
  const pid = guest.pid
  await using target = await attach(pid)
  const report = await target.pages()
  const whole = await medianMs(async () => { await target.pages() })
  const scan = await medianMs(() => scanAll(pid))
  const smaps = await medianMs(() => { readFileSync(`/proc/${pid}/smaps`) })
  const gib = addressBytes(report) / 2 ** 30
  return [title, gib.toFixed(2), whole.toFixed(1), (gib / (whole / 1e3)).toFixed(0), scan.toFixed(2), smaps.toFixed(1), (whole / scan).toFixed(1)]
}

function addressBytes({ total, pageBytes }: PagesReport): number {
  return total.pages * pageBytes
}

function scanAll(pid: number): void {
  using kernel = openLinuxKernel()
  using space = kernel.openAddressSpace(pid)
  const found = new RegionList(8192)
  for (const mapping of space.mappings()) {
    if (mapping.path === '[vsyscall]') continue
    for (let from = mapping.start; from < mapping.end;) {
      found.clear()
      const outcome = space.pageTables.scan({ start: from, end: mapping.end }, QUERY, found)
      from = outcome.kind === 'full' ? outcome.next : mapping.end
    }
  }
}

async function medianMs(body: () => void | Promise<void>): Promise<number> {
  const times: number[] = []
  for (let i = 0; i < RUNS; i++) {
    const begin = process.hrtime.bigint()
    await body()
    times.push(Number(process.hrtime.bigint() - begin) / 1e6)
  }
  return spreadOf(times)!.median
}
