import { fork, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { FinalReport, StallReport, TargetReport, TargetRequest } from './target.ts'
import { TOKEN_BYTES } from './witness.ts'

const PROGRAM = fileURLToPath(new URL('./target.js', import.meta.url))

/** The demo's side of a running target. */
export class TargetProcess implements AsyncDisposable {
  /** What its witness begins with, and nothing else in the world does. */
  readonly token: Uint8Array
  readonly #child: ChildProcess

  private constructor(child: ChildProcess, token: Uint8Array) {
    this.#child = child
    this.token = token
  }

  static async start(mib: number, writesPerSecond: number): Promise<TargetProcess> {
    const token = randomBytes(TOKEN_BYTES)
    const child = fork(PROGRAM, [String(mib), String(writesPerSecond), token.toString('hex')])
    const target = new TargetProcess(child, token)
    try {
      await target.#next('ready')
      return target
    } catch (error) {
      child.kill('SIGKILL')
      throw error
    }
  }

  get pid(): number {
    return this.#child.pid!
  }

  /** The worst stall it has felt since it was last asked. */
  async stall(): Promise<StallReport> {
    return await this.#ask('stall', 'stall') as StallReport
  }

  /** Lets it look at its memory once more and end. */
  async end(): Promise<FinalReport> {
    return await this.#ask('end', 'end') as FinalReport
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exit = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exit
  }

  #ask(request: TargetRequest, kind: TargetReport['kind']): Promise<TargetReport> {
    const answer = this.#next(kind)
    this.#child.send(request)
    return answer
  }

  #next(kind: TargetReport['kind']): Promise<TargetReport> {
    const child = this.#child
    return new Promise((resolve, reject) => {
      const settle = (finish: () => void): void => {
        child.off('message', onMessage).off('exit', onExit).off('error', onError)
        finish()
      }
      const onMessage = (report: TargetReport): void => { if (report.kind === kind) settle(() => resolve(report)) }
      const onExit = (code: number | null, signal: string | null): void => settle(() => reject(new Error(`the target ended (${signal ?? code}) instead of answering`)))
      const onError = (error: Error): void => settle(() => reject(error))
      child.on('message', onMessage).on('exit', onExit).on('error', onError)
    })
  }
}
