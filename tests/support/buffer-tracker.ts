/** A worker that tracks a SharedArrayBuffer, tells how, and stays. */
import { parentPort, workerData } from 'node:worker_threads'
import { trackBuffer } from 'tidemark'

const tracked = trackBuffer(workerData as SharedArrayBuffer)
tracked.mark()
parentPort!.on('message', () => parentPort!.postMessage({ tracker: tracked.tracker, why: tracked.compareReason, bytes: tracked.written().bytes }))
parentPort!.postMessage('ready')
