import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { TidemarkError } from './kernel/errors.ts'
import type { DumpEvent } from './snapshot/capture.ts'
import { decodeError, type Answer, type Request } from './session-messages.ts'

export interface RequestOptions {
  readonly signal?: AbortSignal | undefined
  readonly onEvent?: ((event: DumpEvent) => void) | undefined
}

/** The caller's side of a worker: one request at a time. */
export class Session implements AsyncDisposable {
  readonly #worker: Worker
  readonly #abortFlag = new Int32Array(new SharedArrayBuffer(4))
  #ended = false

  constructor() {
    this.#worker = new Worker(new URL('./worker.js', import.meta.url), {
      workerData: { abortFlag: this.#abortFlag.buffer },
      resourceLimits: { maxYoungGenerationSizeMb: 16 },
    })
    this.#worker.unref()
  }

  /** Performs a request in the worker. Rejects with a TidemarkError; with code 'aborted' when `signal` fires. */
  async request<T>(request: Request, options: RequestOptions = {}): Promise<T> {
    if (this.#ended) throw new TidemarkError('failed', 'the session has ended')
    const { signal, onEvent } = options
    if (signal?.aborted) throw new TidemarkError('aborted', 'interrupted before it began')
    const abort = (): void => void Atomics.store(this.#abortFlag, 0, 1)
    signal?.addEventListener('abort', abort, { once: true })
    this.#worker.ref()
    try {
      return await this.#answer(request, onEvent) as T
    } finally {
      signal?.removeEventListener('abort', abort)
      this.#worker.unref()
    }
  }

  #answer(request: Request, onEvent: RequestOptions['onEvent']): Promise<unknown> {
    const worker = this.#worker
    return new Promise((resolve, reject) => {
      const settle = (finish: () => void): void => {
        worker.off('message', onMessage).off('error', onError).off('exit', onExit)
        finish()
      }
      const onMessage = (answer: Answer): void => {
        if (answer.kind === 'event') onEvent?.(answer.event)
        else if (answer.kind === 'done') settle(() => resolve(answer.value))
        else settle(() => reject(decodeError(answer.error)))
      }
      const onError = (error: Error): void => settle(() => reject(error))
      const onExit = (): void => settle(() => reject(new TidemarkError('failed', 'the worker ended')))
      worker.on('message', onMessage).on('error', onError).on('exit', onExit)
      worker.postMessage(request)
    })
  }

  /** Ends the worker, after what it is doing; the kernel lets go of whatever it still held. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    this.#worker.ref()
    const exit = once(this.#worker, 'exit')
    this.#worker.postMessage('end')
    await exit
  }
}
