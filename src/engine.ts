/**
 * The process that does the work. It is one of its own because
 * - ptrace belongs to one OS thread, and what happens while a target is stopped may not wait for an event loop;
 * - a tracee's stops are reported to the tracer's whole process, where a Node that has the target for a child
 *   takes them for its end;
 * - Ctrl-Z or a debugger in the caller must not stop us while we hold the target.
 * It serves one session and ends with it, or at once when the caller dies; whatever it still traced then, the kernel lets go.
 */
import { probeCapabilities } from './capability-trials.ts'
import { Trackings } from './engine-trackings.ts'
import { TidemarkError } from './kernel/errors.ts'
import type { Kernel } from './kernel/kernel.ts'
import { callerGone, dieWithCaller } from './linux/caller.ts'
import { openLinuxKernel } from './linux/linux-kernel.ts'
import type { DumpEvent, Watcher } from './snapshot/capture.ts'
import { dumpProcess } from './snapshot/dump.ts'
import { encodeError, type Answer, type Request } from './session-messages.ts'
import { pagesOfTarget } from './target-pages.ts'
import { predictProcess } from './watch/prediction.ts'
import { describeTarget, readTarget } from './target-view.ts'

dieWithCaller()

let kernel: Kernel | undefined
let trackings: Trackings | undefined
/** That nobody listens any more is told by the disconnect. */
const post = (answer: Answer): void => void process.send!(answer, () => {})

const watcher: Watcher = {
  emit: (event: DumpEvent): void => post({ kind: 'event', event }),
  checkAborted(): void {
    if (callerGone()) throw new TidemarkError('aborted', 'interrupted; the target runs on')
  },
}

function perform(request: Request): unknown {
  if (request.kind === 'capabilities') return probeCapabilities()
  kernel ??= openLinuxKernel()
  trackings ??= new Trackings(kernel)
  switch (request.kind) {
    case 'dump':
      trackings.requireNoneWaits()
      return dumpProcess(kernel, request.plan, watcher)
    case 'track': return trackings.begin(request.pid, request.options)
    case 'collect': return trackings.collect(request.pid)
    case 'watch': return trackings.beginWatch(request.pid, request.options)
    case 'look': return trackings.look(request.pid)
    case 'unwatch': return trackings.endWatch(request.pid)
    case 'predict':
      trackings.requireNoneWaits()
      return predictProcess(kernel, request.plan, watcher.checkAborted)
    case 'untrack': return trackings.end(request.pid)
    case 'describe': return describeTarget(kernel, request.pid)
    case 'pages':
      trackings.requireNoneWaits()
      return pagesOfTarget(kernel, request.pid, request.plan, watcher.checkAborted)
    case 'read': return readTarget(kernel, request.pid, request.address, request.length)
  }
}

process.on('message', (request: Request) => {
  try {
    post({ kind: 'done', value: perform(request) })
  } catch (error) {
    post({ kind: 'failed', error: encodeError(error) })
  }
})
process.on('disconnect', () => process.exit())
