import type { PageNumber, PageShift } from '../../memory/address.ts'
import { RegionList } from '../../memory/region-list.ts'
import { PageState } from '../../kernel/page-tables.ts'
import type { Capability } from '../capabilities.ts'
import { systemCall } from '../ffi.ts'
import { PagemapFile } from '../pagemap.ts'
import { listProc, readProc } from '../proc.ts'
import { NR } from '../system-calls.ts'
import { attempt, fails, works, type Outcome } from './attempt.ts'
import { mapSample } from './sample.ts'

const THP = '/sys/kernel/mm/transparent_hugepage'
const MADV_HUGEPAGE = 14
const MAP_PRIVATE_ANONYMOUS = 0x22

/** How this machine manages memory. Nothing here stops a snapshot; it explains its cost. */
export function probeMemory(shift: PageShift): Capability[] {
  const group = 'memory'
  return [
    attempt({ name: 'swap', group, title: 'Swap', remedy: 'nothing is lost: every page is in memory', body: findSwap }),
    attempt({ name: 'zram', group, title: 'Compressed memory as a device (zram)', remedy: 'nothing is lost; modprobe zram, CONFIG_ZRAM', body: findZram }),
    attempt({
      name: 'thp', group, title: 'Transparent huge pages',
      remedy: `scans and forks take longer per GiB; echo madvise > ${THP}/enabled, CONFIG_TRANSPARENT_HUGEPAGE`,
      body: () => haveHugePage(shift),
    }),
  ]
}

/** After a line of titles, `name type size used priority`, sizes in KiB. */
function findSwap(): Outcome {
  const text = readProc('/proc/swaps')
  if (text === undefined) return fails('/proc/swaps cannot be read')
  const areas = text.trim().split('\n').slice(1).map((line) => line.trim().split(/\s+/))
  if (areas.length === 0) return fails('none is on')
  return works(areas.map(([name, , kib]) => `${name}, ${Math.round(Number(kib) / 1024)} MiB`).join('; '))
}

function findZram(): Outcome {
  const devices = listProc('/sys/block').filter((name) => name.startsWith('zram'))
  if (devices.length === 0) return fails('no zram device')
  const used = devices.filter((name) => Number(readProc(`/sys/block/${name}/disksize`) ?? 0) > 0)
  return works(used.length === 0 ? `${devices.join(', ')}: there, not in use` : used.join(', '))
}

/** Asks for one with MADV_HUGEPAGE and looks whether it came. */
function haveHugePage(shift: PageShift): Outcome {
  const mode = /\[(\w+)\]/.exec(readProc(`${THP}/enabled`) ?? '')?.[1]
  if (mode === undefined) return fails(`${THP}/enabled cannot be read, or the kernel has none`)
  if (mode === 'never') return fails('switched off: mode is never')
  const hugeBytes = Number(readProc(`${THP}/hpage_pmd_size`)?.trim() || 2 << 20)
  using sample = mapSample(2 * hugeBytes, MAP_PRIVATE_ANONYMOUS, -1, shift)
  systemCall(NR.madvise, sample.address, 2 * hugeBytes, MADV_HUGEPAGE)
  // The first page is there already, and small: the one stretch that is aligned and untouched begins after it.
  const aligned = Math.floor(sample.address / hugeBytes + 1) * hugeBytes
  sample.bytes[aligned - sample.address] = 1
  const range = { start: (aligned / 2 ** shift) as PageNumber, end: ((aligned + hugeBytes) / 2 ** shift) as PageNumber }
  using pagemap = new PagemapFile(process.pid, shift)
  const found = new RegionList(16)
  pagemap.scan(range, { all: PageState.huge, none: 0, any: 0, report: PageState.huge, protect: false, trackedOnly: false }, found)
  const size = `mode ${mode}, ${hugeBytes / 2 ** 20} MiB`
  return found.length > 0 ? works(size) : fails(`${size}: none could be had just now`, 'memory is fragmented, or a prctl or security module forbids them to us: scans and forks take longer per GiB; echo 1 > /proc/sys/vm/compact_memory')
}
