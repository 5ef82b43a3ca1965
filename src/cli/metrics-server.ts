import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { InvalidArgumentError } from 'commander'
import { TidemarkError, type WatchOutcome } from '../index.ts'
import { formatMetrics, METRICS_TYPE, type Measured } from './metrics.ts'

export interface Endpoint {
  readonly host: string
  /** 0 is any that is free. */
  readonly port: number
}

/** Others may not see what a process writes unless somebody says so by naming an address. */
const LOOPBACK = '127.0.0.1'

/** `:9464`, `HOST:9464`, `[::1]:9464`. */
export function parseEndpoint(text: string): Endpoint {
  const match = /^(?:\[([\da-f:.]+)\]|([^\s:[\]/]*)):(\d{1,5})$/i.exec(text)
  const port = Number(match?.[3] ?? NaN)
  if (match === null || !(port <= 65_535)) throw new InvalidArgumentError('give :PORT or HOST:PORT, such as :9464.')
  return { host: match[1] ?? (match[2] || LOOPBACK), port }
}

/** Serves the last look at each process, at /metrics for Prometheus and at /json for programs. */
export class MetricsServer implements AsyncDisposable {
  readonly #server: Server
  readonly #measured = new Map<number, Measured>()

  private constructor() {
    this.#server = createServer((request, response) => this.#answer(request, response))
  }

  /** Errors: 'usage' for an address that is none of ours, 'not-permitted', 'failed' where the port is taken. */
  static async listen({ host, port }: Endpoint): Promise<MetricsServer> {
    const metrics = new MetricsServer()
    try {
      metrics.#server.listen(port, host)
      await once(metrics.#server, 'listening')
    } catch (error) {
      throw refusal(error as NodeJS.ErrnoException, host, port)
    }
    return metrics
  }

  /** Where /metrics and /json are. */
  get url(): string {
    const bound = this.#server.address()
    if (bound === null || typeof bound === 'string') return ''
    return `http://${bound.family === 'IPv6' ? `[${bound.address}]` : bound.address}:${bound.port}`
  }

  show(outcome: WatchOutcome): void {
    if (outcome.kind !== 'sample') this.#measured.delete(outcome.pid)
    else {
      const { sample } = outcome
      const before = this.#measured.get(sample.pid)?.writtenPagesTotal ?? 0
      this.#measured.set(sample.pid, { sample, writtenPagesTotal: before + sample.writtenPages })
    }
  }

  #answer({ method, url = '/' }: IncomingMessage, response: ServerResponse): void {
    const path = url.split('?')[0]
    const content = CONTENTS.get(path ?? '')
    if (content === undefined) reply(response, 404, 'text/plain; charset=utf-8', 'Nothing here: /metrics has the metrics, /json the last samples.\n')
    else if (method !== 'GET' && method !== 'HEAD') reply(response.setHeader('Allow', 'GET, HEAD'), 405, 'text/plain; charset=utf-8', 'Only GET and HEAD.\n')
    else reply(response, 200, content.type, content.text([...this.#measured.values()]))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close()
    this.#server.closeAllConnections()
    await once(this.#server, 'close')
  }
}

const CONTENTS: ReadonlyMap<string, { readonly type: string; readonly text: (measured: readonly Measured[]) => string }> = new Map([
  ['/metrics', { type: METRICS_TYPE, text: formatMetrics }],
  ['/json', { type: 'application/json', text: (measured) => `${JSON.stringify({ schema: 'tidemark.top/1', processes: measured.map(({ sample }) => sample) })}\n` }],
])

/** Node leaves out the body of an answer to HEAD by itself. */
function reply(response: ServerResponse, status: number, type: string, text: string): void {
  response.writeHead(status, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(text), 'Cache-Control': 'no-store' }).end(text)
}

function refusal({ code, message }: NodeJS.ErrnoException, host: string, port: number): TidemarkError {
  const what = `metrics cannot be served at ${host}:${port}`
  switch (code) {
    case 'EADDRINUSE': return new TidemarkError('failed', `${what}: the port is in use`, { hint: 'name another with --metrics :PORT, or :0 for any that is free' })
    case 'EACCES': return new TidemarkError('not-permitted', `${what}: the port is reserved`, { hint: 'name one from 1024 on' })
    case 'EADDRNOTAVAIL': case 'ENOTFOUND': case 'EAI_AGAIN': case 'EINVAL':
      return new TidemarkError('usage', `${what}: this machine has no such address (${code})`, { hint: 'leave the host out for the loopback, or give 0.0.0.0 for all' })
    default: return new TidemarkError('failed', `${what}: ${message}`, { hint: 'name another with --metrics HOST:PORT' })
  }
}
