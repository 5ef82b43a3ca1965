import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { TidemarkError } from './kernel/errors.ts'
import type { DumpEvent } from './snapshot/capture.ts'
import { decodeError, type Answer, type Request } from './session-messages.ts'

export interface RequestOptions {
  readonly signal?: AbortSignal | undefined
  readonly onEvent?: ((event: DumpEvent) => void) | undefined
}

/** The caller's side of an engine, which does one thing at a time: requests queue. */
export class Session implements AsyncDisposable {
  readonly #engine: ChildProcess
  #last: Promise<unknown> = Promise.resolve()

  /**
   * Only an engine that writes a core there needs our standard output. One that has it makes it blocking for us too: libuv
   * (`uv__process_child_init`, 1.46) clears O_NONBLOCK of what a child inherits as 0 to 2, and that is of the file, not the process.
   */
  constructor(stdout: 'inherit' | 'ignore' = 'ignore') {
    const { NODE_OPTIONS: _, ...env } = process.env
    this.#engine = fork(new URL('./engine.js', import.meta.url), {
      execArgv: ['--expose-gc', '--max-semi-space-size=16'], env, serialization: 'advanced', detached: true, stdio: ['pipe', stdout, 'inherit', 'ipc'],
    })
    this.#engine.on('error', () => {}) // Told by its end.
    this.#engine.stdin!.on('error', () => {})
    this.#idle()
  }

  /** Neither an idle engine nor its pipes keep the caller's process from ending. */
  #idle(): void {
    this.#engine.unref()
    this.#engine.channel?.unref()
    this.#pipe.unref()
  }

  get #pipe(): { ref(): void; unref(): void } {
    return this.#engine.stdin as unknown as { ref(): void; unref(): void }
  }

  /** Whether no request can be made any more. */
  get ended(): boolean {
    return !this.#engine.connected
  }

  /** Performs a request. Rejects with a TidemarkError; with code 'aborted' when `signal` fires, after which the session has ended. */
  request<T>(request: Request, options: RequestOptions = {}): Promise<T> {
    const answer = this.#last.then(() => this.#perform<T>(request, options))
    this.#last = answer.catch(() => {})
    return answer
  }

  async #perform<T>(request: Request, { signal, onEvent }: RequestOptions): Promise<T> {
    if (signal?.aborted) throw new TidemarkError('aborted', 'interrupted before it began')
    if (!this.#engine.connected) throw new TidemarkError('failed', 'the session has ended')
    const abort = (): void => void this.#engine.stdin!.end()
    signal?.addEventListener('abort', abort, { once: true })
    this.#engine.channel?.ref()
    try {
      return await this.#answer(request, onEvent) as T
    } finally {
      signal?.removeEventListener('abort', abort)
      this.#idle()
    }
  }

  #answer(request: Request, onEvent: RequestOptions['onEvent']): Promise<unknown> {
    const engine = this.#engine
    return new Promise((resolve, reject) => {
      const settle = (finish: () => void): void => {
        engine.off('message', onMessage).off('exit', onExit)
        finish()
      }
      const onMessage = (message: unknown): void => {
        const answer = message as Answer
        if (answer.kind === 'event') onEvent?.(answer.event)
        else if (answer.kind === 'done') settle(() => resolve(answer.value))
        else settle(() => reject(decodeError(answer.error)))
      }
      const onExit = (code: number | null, killed: string | null): void => {
        settle(() => reject(new TidemarkError('failed', `the engine ended (${killed ?? `status ${code}`}); the target runs on`)))
      }
      engine.on('message', onMessage).on('exit', onExit)
      engine.send(request)
    })
  }

  /** Ends the engine; the kernel lets go of whatever it still held. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#engine.exitCode !== null || this.#engine.signalCode !== null) return
    this.#engine.ref()
    const exit = once(this.#engine, 'exit')
    this.#engine.stdin!.destroy()
    if (this.#engine.connected) this.#engine.disconnect()
    await exit
  }
}
