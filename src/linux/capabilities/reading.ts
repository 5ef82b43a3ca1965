import { closeSync, openSync, readSync, writeSync } from 'node:fs'
import { addressOf, type PageShift } from '../../memory/address.ts'
import type { Mapping } from '../../memory/mapping.ts'
import { RegionList } from '../../memory/region-list.ts'
import type { Capability } from '../capabilities.ts'
import { allocateBlock, getU64, putU64 } from '../block.ts'
import { callFailed, errno, errnoName } from '../errno.ts'
import { systemCall } from '../ffi.ts'
import { parseMaps } from '../maps.ts'
import { PageOut } from '../page-out.ts'
import { readProc } from '../proc.ts'
import { NR } from '../system-calls.ts'
import { attempt, fails, onChild, works, type Outcome } from './attempt.ts'
import { closeRaw, memoryFile } from './sample.ts'
import { howToPageOut, howToTrace, type Situation } from './situation.ts'

export function probeReading(child: number | undefined, shift: PageShift, situation: Situation): Capability[] {
  const group = 'reading'
  const trace = howToTrace(situation)
  const onMapping = (body: (pid: number, mapping: Mapping, shift: PageShift) => Outcome): (() => Outcome) => onChild(child, (pid) => {
    const mapping = parseMaps(readProc(`/proc/${pid}/maps`) ?? '', shift).find(({ readable, path }) => readable && path.startsWith('/'))
    return mapping === undefined ? fails('/proc/PID/maps of a child of ours tells nothing') : body(pid, mapping, shift)
  })
  return [
    attempt({
      name: 'process-vm-readv', group, title: 'Read memory fast (process_vm_readv)',
      remedy: `nothing can be saved without it; needs CONFIG_CROSS_MEMORY_ATTACH, and to be allowed to trace; ${trace}`,
      body: onMapping(readFast),
    }),
    attempt({
      name: 'proc-mem', group, title: 'Read memory whatever its protection (/proc/PID/mem)',
      remedy: `nothing can be saved without it; ${trace}`,
      body: onMapping(readWhateverProtection),
    }),
    attempt({
      name: 'map-files', group, title: 'Open what is mapped (/proc/PID/map_files)',
      remedy: 'holes of shared memory are read too, and filled; needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN: run as root, or docker run --cap-add CHECKPOINT_RESTORE',
      body: onMapping(openMapped),
    }),
    attempt({
      name: 'cachestat', group, title: 'Tell cached from swapped shared memory (cachestat)',
      remedy: 'shared memory that is swapped out cannot be told from a hole; needs Linux 6.5, and a container that allows it',
      body: () => countCached(shift),
    }),
    attempt({
      name: 'page-out', group, title: 'Give back what reading brings in from swap (process_madvise)',
      remedy: `a dump of a process that is swapped out leaves it in memory, and may exceed a control group's limit; needs Linux 5.10, CONFIG_ADVISE_SYSCALLS and CAP_SYS_NICE; ${howToPageOut(situation)}`,
      body: onMapping(giveBack),
    }),
  ]
}

function readFast(pid: number, mapping: Mapping, shift: PageShift): Outcome {
  using block = allocateBlock(4096)
  const words = new Uint32Array(block.bytes.buffer)
  const length = 64
  putU64(words, 0, block.address + 1024)
  putU64(words, 2, length)
  putU64(words, 4, Number(addressOf(mapping.start, shift)))
  putU64(words, 6, length)
  const read = systemCall(NR.processVmReadv, pid, block.address, 1, block.address + 16, 1, 0)
  if (read < 0) return fails(`process_vm_readv of a child of ours: ${errnoName(read)}`)
  return read === length ? works() : fails(`process_vm_readv read ${read} of ${length} bytes`)
}

/** Opened for writing too, as for a dump. */
function readWhateverProtection(pid: number, mapping: Mapping, shift: PageShift): Outcome {
  const file = openSync(`/proc/${pid}/mem`, 'r+')
  try {
    const read = readSync(file, Buffer.alloc(64), 0, 64, addressOf(mapping.start, shift))
    return read === 64 ? works() : fails(`read ${read} of 64 bytes`)
  } finally {
    closeSync(file)
  }
}

function openMapped(pid: number, mapping: Mapping, shift: PageShift): Outcome {
  const hex = (page: Mapping['start']): string => addressOf(page, shift).toString(16)
  closeSync(openSync(`/proc/${pid}/map_files/${hex(mapping.start)}-${hex(mapping.end)}`, 'r'))
  return works()
}

/** The page of a program that others run too stays where it is. */
function giveBack(pid: number, mapping: Mapping, shift: PageShift): Outcome {
  using pageOut = new PageOut(pid, shift)
  const page = new RegionList(1)
  page.push(mapping.start, mapping.start + 1)
  return pageOut.pageOut(page) === 'done' ? works() : fails('process_madvise with MADV_PAGEOUT is refused')
}

/** struct cachestat_range { off, len } in, struct cachestat { nr_cache, … } out. */
function countCached(shift: PageShift): Outcome {
  const pageBytes = 2 ** shift
  const file = memoryFile(pageBytes)
  try {
    writeSync(file, 'x')
    using block = allocateBlock(4096)
    const words = new Uint32Array(block.bytes.buffer)
    putU64(words, 2, pageBytes)
    const result = systemCall(NR.cachestat, file, block.address, block.address + 1024, 0)
    if (result === -errno.ENOSYS) return fails('ENOSYS: this kernel does not have it, or a filter hides it')
    if (result < 0) throw callFailed('cachestat', result)
    const cached = getU64(words, 256)
    return cached === 1 ? works() : fails(`cachestat counts ${cached} pages where 1 is`)
  } finally {
    closeRaw(file)
  }
}
