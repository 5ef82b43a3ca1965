/**
 * snapshot/ gets one instant of a running process: stop.ts, fork.ts and precopy.ts behind one interface, auto.ts chooses.
 * Nothing here prints; it reports by events and by its result.
 */
import { addressOf, formatAddress } from '../memory/address.ts'
import { isFileBacked, type Mapping } from '../memory/mapping.ts'
import { RegionList } from '../memory/region-list.ts'
import type { Core, CoreSegment } from '../image/elf-core/core.ts'
import { encodeCore } from '../image/elf-core/encode.ts'
import type { Kernel } from '../kernel/kernel.ts'
import type { Output, OutputPlan } from '../kernel/output.ts'
import { TidemarkError } from '../kernel/errors.ts'
import type { Process, ProcessIdentity } from '../kernel/process.ts'
import { takeAuto } from './auto.ts'
import type { BlindSpot } from './blind-spots.ts'
import { Capture, CopyBuffers, type Watcher } from './capture.ts'
import { rehearse } from './rehearsal.ts'
import { STRATEGIES } from './strategies.ts'
import type { Moment, StrategyLimits, StrategyName } from './strategy.ts'
import { describeThread } from './threads.ts'

export interface DumpPlan {
  readonly pid: number
  readonly strategy: StrategyName | 'auto'
  readonly limits: StrategyLimits
  readonly output: OutputPlan
  /** Instead of the process's own coredump_filter. */
  readonly filter: number | undefined
  /** Bits taken out of the filter. */
  readonly filterWithout: number
  readonly dontDumpToo: boolean
  /** 'wanted' where it is an error that it cannot be kept. */
  readonly workingSet: 'keep' | 'wanted' | 'spend'
}

export interface Unproven {
  readonly kind: BlindSpot['kind']
  /** The mapping concerned, addresses as `0x` and 16 hex digits; absent when the whole process is. */
  readonly mapping?: { readonly start: string; readonly end: string; readonly path: string }
  readonly why: string
}

/** Counts, sizes and times of a finished dump. Times in nanoseconds, sizes in bytes. */
export interface DumpResult {
  readonly pid: number
  readonly file: string
  readonly strategy: StrategyName
  readonly pauseNs: number
  readonly freezeNs: number
  readonly armingNs: number
  readonly totalNs: number
  readonly roundPages: readonly number[]
  readonly capturedPages: number
  readonly dirtyAtPausePages: number
  readonly zeroPages: number
  /** Pages that were in swap when they were read, and of those the ones that are out of memory again. */
  readonly pagedInPages: number
  readonly givenBackPages: number
  readonly writtenBytes: number
  readonly fileBytes: number
  readonly threads: number
  readonly mappings: number
  readonly consistency: 'proven' | 'unproven'
  /** What in the image may not be of the one instant; empty when it is proven. */
  readonly unproven: readonly Unproven[]
  readonly extraMemoryBytesMax: number
  readonly pauseExceeded: boolean
}

/** Saves one instant of a process as an ELF core file. Leaves nothing behind under the final name unless it is whole. */
export function dumpProcess(kernel: Kernel, plan: DumpPlan, watcher: Watcher): DumpResult {
  const start = kernel.clock.nowNs()
  using process = kernel.openProcess(plan.pid)
  if (plan.workingSet === 'wanted') requirePageOut(process)
  if (process.is32Bit()) throw new TidemarkError('unsupported', `process ${plan.pid} runs in 32-bit mode`, { pid: plan.pid, hint: 'only 64-bit processes can be saved' })
  using output = kernel.createOutput(plan.output)
  // Read now: once we have the instant, the target may end.
  const identity = process.identity()
  const auxv = process.auxiliaryVector()
  using buffers = new CopyBuffers(kernel)
  rehearse(kernel, buffers, plan.strategy, watcher)
  const filter = (plan.filter ?? process.coredumpFilter()) & ~plan.filterWithout
  const capture = new Capture(kernel, process, output, buffers, { filter, dontDumpToo: plan.dontDumpToo, workingSet: plan.workingSet === 'spend' ? 'spend' : 'keep' }, watcher)
  const { name, moment } = plan.strategy === 'auto'
    ? takeAuto(capture, plan.limits)
    : { name: plan.strategy, moment: STRATEGIES[plan.strategy].take(capture, plan.limits) }
  watcher.emit({ kind: 'phase', phase: 'finishing' })
  if (capture.workingSet.refused) watcher.emit({ kind: 'warning', text: `${capture.workingSet.pagedInPages} pages that were in swap are in memory now: ${PAGE_OUT_REFUSED}` })
  capture.reserveWhole(moment.mappings)
  const fileBytes = finish(capture, output, moment, identity, auxv)
  return {
    pid: plan.pid, file: plan.output.path, strategy: name,
    pauseNs: Math.round(moment.pauseNs), freezeNs: Math.round(moment.freezeNs), armingNs: Math.round(moment.armingNs),
    totalNs: Math.round(kernel.clock.nowNs() - start),
    roundPages: moment.roundPages, capturedPages: capture.file.heldPages, dirtyAtPausePages: moment.dirtyAtPausePages,
    zeroPages: capture.file.zeroPages,
    pagedInPages: capture.workingSet.pagedInPages, givenBackPages: capture.workingSet.givenBackPages, writtenBytes: capture.file.writtenBytes, fileBytes,
    threads: moment.threads.length, mappings: moment.mappings.length,
    consistency: moment.blindSpots.length === 0 ? 'proven' : 'unproven', unproven: moment.blindSpots.map((spot) => describeBlindSpot(kernel, spot)),
    extraMemoryBytesMax: buffers.bytes + moment.extraBytesMax,
    pauseExceeded: plan.limits.pauseNsMax !== undefined && moment.pauseNs > plan.limits.pauseNsMax,
  }
}

const PAGE_OUT_REFUSED = 'paging them out again needs CAP_SYS_NICE (process_madvise, Linux 5.10)'

/** Nothing to page out is asked of the kernel: it judges us all the same. */
function requirePageOut(process: Process): void {
  if (process.pageOut(new RegionList(1)) !== 'refused') return
  throw new TidemarkError('not-permitted', `pages of process ${process.pid} that are in swap would stay in memory: ${PAGE_OUT_REFUSED}`, {
    pid: process.pid, hint: 'run as root, or in a container with --cap-add SYS_NICE; without --preserve-working-set it is done where it can be',
  })
}

function describeBlindSpot({ pageShift }: Kernel, { kind, mapping, why }: BlindSpot): Unproven {
  if (mapping === undefined) return { kind, why }
  const start = formatAddress(addressOf(mapping.start, pageShift))
  return { kind, mapping: { start, end: formatAddress(addressOf(mapping.end, pageShift)), path: mapping.path }, why }
}

/** Writes what a core needs besides pages: the header before them, program headers and notes behind. */
function finish(capture: Capture, output: Output, moment: Moment, identity: ProcessIdentity, auxv: Uint8Array): number {
  const { kernel, process } = capture
  const core: Core = {
    machine: kernel.architecture.name,
    pageBytes: 2 ** kernel.pageShift,
    process: {
      pid: identity.pid, ppid: identity.parentPid, pgid: identity.groupId, sid: identity.sessionId, uid: identity.uid, gid: identity.gid,
      state: identity.state, nice: identity.nice, flags: BigInt(identity.flags), name: identity.name, arguments: identity.commandLine,
    },
    threads: leaderFirst(moment, identity.pid).map((thread) => describeThread(process, thread)),
    auxv,
    files: moment.mappings.filter(isFileBacked).map((mapping) => ({
      start: addressOf(mapping.start, kernel.pageShift), end: addressOf(mapping.end, kernel.pageShift),
      pageOffset: mapping.offset / 2 ** kernel.pageShift, path: mapping.path,
    })),
    segments: moment.mappings.flatMap((mapping) => segmentsOf(kernel, capture, mapping)),
  }
  const tailOffset = capture.layout.fileBytes
  const { header, tail } = encodeCore(core, tailOffset)
  using block = kernel.allocate(header.length + tail.length)
  block.bytes.set(header)
  block.bytes.set(tail, header.length)
  output.write(block, 0, header.length, 0)
  output.write(block, header.length, tail.length, tailOffset)
  output.commit(tailOffset + tail.length, () => capture.watcher.checkAborted())
  return tailOffset + tail.length
}

function leaderFirst(moment: Moment, pid: number): Moment['threads'] {
  return moment.threads.toSorted((a, b) => Number(b.tid === pid) - Number(a.tid === pid) || a.tid - b.tid)
}

/** One segment for each stretch of a mapping that lies in one piece in the file; the rest of it is named, without contents. */
function segmentsOf(kernel: Kernel, capture: Capture, mapping: Mapping): CoreSegment[] {
  const pageBytes = 2 ** kernel.pageShift
  const rights = { readable: mapping.readable, writable: mapping.writable, executable: mapping.executable }
  const share = capture.share(mapping)
  const extents = share === 'none' ? [] : capture.layout.within(mapping)
  const segments: CoreSegment[] = []
  let at = mapping.start
  const add = (end: number, filePages: number, fileOffset: number): void => {
    if (end > at) segments.push({ start: addressOf(at, kernel.pageShift), memoryBytes: (end - at) * pageBytes, fileOffset, fileBytes: filePages * pageBytes, ...rights })
    at = end as Mapping['start']
  }
  for (const extent of extents) {
    add(extent.start, 0, 0)
    if (share === 'first-page') add(mapping.end, 1, extent.fileOffset)
    else add(extent.end, extent.end - extent.start, extent.fileOffset)
  }
  add(mapping.end, 0, 0)
  return segments
}
