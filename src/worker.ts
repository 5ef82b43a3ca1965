/**
 * The thread that does the work: ptrace belongs to one OS thread, and what happens while a target is stopped
 * may not wait for an event loop. One worker serves one session and ends with it; whatever it still traced then,
 * the kernel lets go.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { probeCapabilities } from './capability-trials.ts'
import { TidemarkError } from './kernel/errors.ts'
import type { Kernel } from './kernel/kernel.ts'
import { openLinuxKernel } from './linux/linux-kernel.ts'
import { dumpProcess } from './snapshot/dump.ts'
import { encodeError, type Answer, type Request, type SessionData } from './session-messages.ts'
import { describeTarget, readTarget } from './target-view.ts'

const { abortFlag } = workerData as SessionData
const aborted = new Int32Array(abortFlag)
const post = (answer: Answer): void => parentPort!.postMessage(answer)

const watcher = {
  emit: (event: Extract<Answer, { kind: 'event' }>['event']): void => post({ kind: 'event', event }),
  checkAborted(): void {
    if (Atomics.load(aborted, 0) !== 0) throw new TidemarkError('aborted', 'interrupted; the target runs on')
  },
}

let kernel: Kernel | undefined

function perform(request: Request): unknown {
  if (request.kind === 'capabilities') return probeCapabilities()
  kernel ??= openLinuxKernel()
  switch (request.kind) {
    case 'dump': return dumpProcess(kernel, request.plan, watcher)
    case 'describe': return describeTarget(kernel, request.pid)
    case 'read': return readTarget(kernel, request.pid, request.address, request.length)
  }
}

parentPort!.on('message', (request: Request | 'end') => {
  if (request === 'end') {
    kernel?.[Symbol.dispose]()
    parentPort!.close()
    return
  }
  try {
    Atomics.store(aborted, 0, 0)
    post({ kind: 'done', value: perform(request) })
  } catch (error) {
    post({ kind: 'failed', error: encodeError(error) })
  }
})
