import { whileStopped } from '../tracee/freeze.ts'
import { kernelWorkers, sharedWriters } from './blind-spots.ts'
import { forecastStop } from './forecast.ts'
import { keepPause } from './pause-budget.ts'
import type { Strategy } from './strategy.ts'
import { readThreads } from './threads.ts'

/** Stop, copy, resume: what every other strategy is measured against, and the only one that needs nothing from the kernel but ptrace. */
export const stop: Strategy = {
  name: 'stop',
  take(capture, limits) {
    const { kernel, process } = capture
    keepPause(capture, limits, forecastStop(capture.population()))
    capture.watcher.emit({ kind: 'phase', phase: 'pausing' })
    const before = sharedWriters(capture, process.mappings())
    const moment = whileStopped(kernel, process.pid, { timeoutNs: limits.freezeTimeoutNs, threads: 'all' }, (stopped) => {
      const mappings = process.mappings()
      for (const mapping of mappings) {
        const share = capture.share(mapping)
        if (share !== 'none') capture.forContents(process, mapping, share, (regions) => capture.save(process, mapping, regions))
      }
      return { stopped, mappings, threads: readThreads(kernel, stopped, capture.copyBlock), workers: stopped.kernelWorkers }
    })
    capture.workingSet.giveBack()
    const { stopped } = moment
    return {
      threads: moment.threads,
      mappings: moment.mappings,
      pauseNs: stopped.releasedNs - stopped.startedNs,
      freezeNs: stopped.frozenNs - stopped.startedNs,
      armingNs: 0,
      roundPages: [capture.copiedPages],
      dirtyAtPausePages: capture.copiedPages,
      blindSpots: [...kernelWorkers(moment.workers), ...before],
      extraBytesMax: 0,
    }
  },
}
