import type { Mapping } from '../memory/mapping.ts'
import { addressOf, type PageNumber } from '../memory/address.ts'
import type { RegionList } from '../memory/region-list.ts'
import type { Process } from '../kernel/process.ts'
import { whileStopped } from '../tracee/freeze.ts'
import { bury, withHelper, type RemoteTask } from '../tracee/helper.ts'
import { kernelWorkers, sharedWriters, type BlindSpot } from './blind-spots.ts'
import type { Capture } from './capture.ts'
import { forecastFork } from './forecast.ts'
import { keepPause } from './pause-budget.ts'
import type { Strategy } from './strategy.ts'
import { readThreads } from './threads.ts'

const MADV_DONTNEED = 4
const RELEASE_PAGES = 4096
/** Shared memory that is copied in the pause: a fork does not freeze it. More than this is copied after, and reported. */
const SHARED_PAGES_MAX = 4096

/**
 * A copy of the process, made by the kernel in one step while all threads stand, is saved while the target runs on.
 * The copy never runs an instruction of the program, holds none of its files open, and dies with us. What is saved
 * is released in it, so that the target's later writes need not copy any more.
 */
export const fork: Strategy = {
  name: 'fork',
  take(capture, limits) {
    const { kernel, process } = capture
    const population = capture.population()
    const sharedInPause = population.sharedPages <= SHARED_PAGES_MAX
    keepPause(capture, limits, forecastFork(sharedInPause ? population : { ...population, sharedPages: 0 }))
    capture.watcher.emit({ kind: 'phase', phase: 'pausing' })
    const writers = sharedWriters(capture, process.mappings())
    const { stopped, mappings, threads, workers, copy } = whileStopped(kernel, process.pid, { timeoutNs: limits.freezeTimeoutNs, threads: 'all' }, (stopped) => {
      const made = withHelper(kernel, process, stopped.threads[0]!, (helper) => {
        const pid = helper.fork()
        return { pid, task: helper.inside(pid) }
      })
      const now = process.mappings()
      for (const mapping of now) if (isMissing(capture, mapping) && (sharedInPause || !mapping.shared)) holdMapping(capture, mapping)
      return { stopped, mappings: now, threads: readThreads(kernel, stopped, capture.copyBlock), workers: stopped.kernelWorkers, copy: made }
    })
    const late = sharedInPause ? [] : mappings.filter((mapping) => mapping.shared && capture.share(mapping) === 'whole')
    try {
      const extraBytesMax = saveCopy(capture, mappings, late, copy.pid, copy.task)
      capture.workingSet.giveBack()
      return {
        threads, mappings, pauseNs: stopped.releasedNs - stopped.startedNs, freezeNs: stopped.frozenNs - stopped.startedNs, armingNs: 0,
        roundPages: [capture.copiedPages], dirtyAtPausePages: 0, extraBytesMax,
        blindSpots: [...kernelWorkers(workers), ...writers, ...late.map(unfrozen)],
      }
    } finally {
      bury(kernel, copy.pid)
    }
  },
}

function unfrozen(mapping: Mapping): BlindSpot {
  return { kind: 'unfrozen-shared', mapping, why: 'a fork does not freeze shared memory, and there was too much of it to copy in the pause' }
}

/** Whether the copy lacks what the target has there: shared memory is not copied, MADV_DONTFORK and WIPEONFORK are left out. */
function isMissing(capture: Capture, mapping: Mapping): boolean {
  return mapping.shared || capture.detail(mapping)?.missingInFork === true
}

function holdMapping(capture: Capture, mapping: Mapping): void {
  const share = capture.share(mapping)
  if (share === 'none') return
  capture.forContents(capture.process, mapping, share, (regions) => capture.hold(capture.process, mapping, regions))
}

/** Saves the copy's memory and returns how much memory it cost at its largest. */
function saveCopy(capture: Capture, mappings: readonly Mapping[], late: readonly Mapping[], pid: number, task: RemoteTask): number {
  using copy = capture.kernel.openProcess(pid, 'by-us')
  capture.workingSet.giveBack()
  capture.flushHeld()
  let extraBytesMax = copy.privateBytes()
  for (const mapping of mappings) {
    const share = capture.share(mapping)
    if (share === 'none' || isMissing(capture, mapping)) continue
    capture.forContents(copy, mapping, share, (regions) => saveAndRelease(capture, copy, task, mapping, regions))
    if (mapping.end - mapping.start > RELEASE_PAGES) extraBytesMax = Math.max(extraBytesMax, copy.privateBytes())
  }
  capture.workingSet.giveBack()
  for (const mapping of late) capture.forContents(capture.process, mapping, 'whole', (regions) => capture.save(capture.process, mapping, regions))
  return extraBytesMax
}

function saveAndRelease(capture: Capture, copy: Process, task: RemoteTask, mapping: Mapping, regions: RegionList): void {
  const { kernel } = capture
  let from = regions.starts[0] ?? 0
  const release = (to: number): void => {
    if (mapping.path === '[vdso]') return // The calls are made there.
    const at = addressOf(from as PageNumber, kernel.pageShift)
    task.call(kernel.architecture.calls.madvise, [at, (to - from) * 2 ** kernel.pageShift, MADV_DONTNEED])
    from = to
  }
  capture.save(copy, mapping, regions, (_start, end) => { if (end - from >= RELEASE_PAGES) release(end) })
}
