import type { PageShift } from '../../memory/address.ts'
import { RegionList } from '../../memory/region-list.ts'
import { PageState, type ScanQuery } from '../../kernel/page-tables.ts'
import type { Userfault } from '../../kernel/userfaults.ts'
import type { Capability } from '../capabilities.ts'
import { PagemapFile } from '../pagemap.ts'
import { trySoftDirty } from '../soft-dirty.ts'
import { openUserfault } from '../userfault.ts'
import { attempt, fails, refusalOf, works, type Outcome } from './attempt.ts'
import { SAMPLES, type Sample } from './sample.ts'
import { howToTrace, type Situation } from './situation.ts'

type Open = (() => number) | undefined

const NEEDS_WP_ASYNC = 'Linux 6.7 with CONFIG_PTE_MARKER_UFFD_WP (arm64: 6.10)'

export function probeTracking(open: Open, shift: PageShift, situation: Situation): Capability[] {
  const group = 'tracking'
  const kind = (name: string, what: string, map: (shift: PageShift) => Sample): Capability => attempt({
    name: `wp-async-${name}`, group, title: `Follow writes to ${what} (WP_ASYNC)`,
    remedy: `a live dump copies such memory in the pause; needs ${NEEDS_WP_ASYNC}`,
    body: () => followWrites(open, map, shift, situation),
  })
  return [
    attempt({
      name: 'pagemap-scan', group, title: 'Scan page tables (PAGEMAP_SCAN)',
      remedy: 'no dump at all: needs Linux 6.7 with CONFIG_PROC_PAGE_MONITOR', body: () => scanOwn(shift),
    }),
    kind('anon', 'anonymous memory', SAMPLES.anon),
    kind('private-file', 'private file mappings', SAMPLES.privateFile),
    kind('shared-file', 'shared file mappings', SAMPLES.sharedFile),
    kind('shmem', 'shared memory (memfd)', SAMPLES.shmem),
    kind('hugetlb', 'hugetlb pages', SAMPLES.hugetlb),
    attempt({
      name: 'soft-dirty', group, title: 'Follow writes without userfaultfd (soft-dirty)',
      remedy: 'memory that another userfaultfd owns is followed by comparing, or copied in the pause; needs a kernel with CONFIG_MEM_SOFT_DIRTY (never on arm64)', body: () => softDirtyWorks(shift),
    }),
  ]
}

function scanOwn(shift: PageShift): Outcome {
  using sample = SAMPLES.anon(shift)
  const present = scan(sample, { all: PageState.present, none: 0, any: 0, report: PageState.present, protect: false, trackedOnly: false }, shift)
  return present === 1 ? works() : fails(`the scan found ${present} pages where 1 is`)
}

/** How many pages of the sample match. */
function scan(sample: Sample, query: ScanQuery, shift: PageShift): number {
  using pagemap = new PagemapFile(process.pid, shift)
  const found = new RegionList(16)
  pagemap.scan(sample.range, query, found)
  return found.pageCount()
}

const MARK: ScanQuery = { all: 0, none: 0, any: PageState.present | PageState.swapped, report: PageState.present, protect: true, trackedOnly: true }
const WRITTEN: ScanQuery = { all: PageState.written | PageState.present, none: 0, any: 0, report: PageState.written, protect: false, trackedOnly: true }

/** The whole way round: register, mark, look (nothing), write, look (there it is). */
function followWrites(open: Open, map: (shift: PageShift) => Sample, shift: PageShift, situation: Situation): Outcome {
  const file = open?.() ?? -1
  if (file < 0) return fails('no userfaultfd can be had', `no tracking of writes, so no precopy; ${howToTrace(situation)}`)
  const userfault = openUserfault(file, shift, 'async')
  if (userfault === 'refused') return fails('this kernel has no WP_ASYNC')
  try {
    return followSample(userfault, map, shift)
  } finally {
    userfault[Symbol.dispose]()
  }
}

function followSample(userfault: Userfault, map: (shift: PageShift) => Sample, shift: PageShift): Outcome {
  let sample: Sample
  try {
    sample = map(shift)
  } catch (error) {
    const why = refusalOf(error)
    if (why === undefined) throw error
    if (map === SAMPLES.hugetlb) return fails(`not tried: no free hugetlb page (${why})`, 'matters only for programs that use hugetlb pages; to see: sysctl vm.nr_hugepages=1')
    return fails(`not tried: ${why}`, map === SAMPLES.sharedFile ? 'needs a directory to write in: set TMPDIR' : 'whether it works is seen with each target')
  }
  try {
    const registered = userfault.register(sample.range)
    if (registered !== 'registered') return fails(`UFFDIO_REGISTER: ${registered}`)
    const pages = scan(sample, MARK, shift)
    if (pages === 0) return fails('the page was not found by PAGEMAP_SCAN')
    if (scan(sample, WRITTEN, shift) !== 0) return fails('a page still reads as written after it was marked')
    sample.bytes[64] = 1
    if (scan(sample, WRITTEN, shift) === 0) return fails('a write was not seen')
    return works(sample.note)
  } finally {
    sample[Symbol.dispose]()
  }
}

function softDirtyWorks(shift: PageShift): Outcome {
  const found = trySoftDirty(shift)
  if (found === 'works') return works()
  return fails({ 'absent': 'a page just written is not marked: this kernel does not have it', 'not-cleared': 'the mark cannot be cleared', 'not-set': 'a write after clearing was not seen' }[found])
}
