import { Agent, get } from 'node:http'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { childrenOf, freePort, requireProgram, startProgram, temporaryFolder, until, type RunningProgram } from './programs.ts'

const WORKERS = 2
const PAGE_BYTES = 96 * 1024

export interface NginxServer {
  readonly process: RunningProgram
  readonly program: string
  readonly port: number
  readonly folder: string
  readonly workers: readonly number[]
}

/** A server with a master and two workers, all its files in a folder of its own. */
export async function startNginx(t: TestContext): Promise<NginxServer> {
  const program = requireProgram('nginx')
  const folder = temporaryFolder(t)
  const port = await freePort()
  mkdirSync(join(folder, 'pages'))
  for (let i = 0; i < 4; i++) writeFileSync(join(folder, 'pages', String(i)), pageText(i))
  const config = join(folder, 'nginx.conf')
  writeFileSync(config, configuration(folder, port))
  // SIGTERM makes the master end its workers; SIGKILL would leave them.
  const process = startProgram(t, program, ['-p', folder, '-c', config, '-e', join(folder, 'error.log')], { folder, endBy: 'SIGTERM' })
  await until(async () => {
    if (process.ended) throw new Error(`nginx ended: ${process.stderr}`)
    return childrenOf(process.pid).length === WORKERS && (await fetchPage(port, 0, undefined).then(() => true, () => false))
  }, 'nginx answers')
  return { process, program, port, folder, workers: childrenOf(process.pid) }
}

function configuration(folder: string, port: number): string {
  return `daemon off;
${process.getuid?.() === 0 ? 'user root;' : ''}
worker_processes ${WORKERS};
pid ${folder}/pid;
error_log ${folder}/error.log;
events { worker_connections 64; }
http {
  access_log off;
  keepalive_requests 1000000;
  client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy; fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi; scgi_temp_path ${folder}/scgi;
  server { listen 127.0.0.1:${port}; root ${folder}/pages; }
}
`
}

function pageText(page: number): string {
  return `page ${page} `.repeat(PAGE_BYTES).slice(0, PAGE_BYTES)
}

/** Rejects for anything but the whole right page. */
function fetchPage(port: number, page: number, agent: Agent | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = get({ host: '127.0.0.1', port, path: `/${page}`, ...(agent !== undefined && { agent }) }, (response) => {
      let text = ''
      response.setEncoding('latin1')
      response.on('data', (data: string) => (text += data))
      response.on('error', reject)
      response.on('close', () => {
        if (response.statusCode === 200 && text === pageText(page)) resolve()
        else reject(new Error(`page ${page}: status ${response.statusCode}, ${text.length} bytes${text.length === PAGE_BYTES ? ', wrong ones' : ''}`))
      })
    })
    request.on('error', reject)
  })
}

/** Clients in closed loops over connections that are kept; the first failed request fails {@link finish}. */
export class HttpLoad {
  readonly #port: number
  readonly #agents: Agent[] = []
  readonly #loops: readonly Promise<void>[]
  #running = true
  #requests = 0
  #latencyMsMax = 0

  constructor(t: TestContext, port: number, clients: number) {
    this.#port = port
    this.#loops = Array.from({ length: clients }, () => this.#client())
    for (const loop of this.#loops) loop.catch(() => undefined)
    t.after(() => this.#close())
  }

  get requests(): number {
    return this.#requests
  }

  takeLatencyMsMax(): number {
    const max = this.#latencyMsMax
    this.#latencyMsMax = 0
    return max
  }

  async finish(): Promise<void> {
    this.#running = false
    await this.broken()
  }

  /** Goes on, and rejects when a request fails. */
  async broken(): Promise<void> {
    await Promise.all(this.#loops)
  }

  #close(): void {
    this.#running = false
    for (const agent of this.#agents) agent.destroy()
  }

  async #client(): Promise<void> {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    this.#agents.push(agent)
    while (this.#running) {
      const start = performance.now()
      await fetchPage(this.#port, this.#requests % 4, agent)
      this.#latencyMsMax = Math.max(this.#latencyMsMax, performance.now() - start)
      this.#requests++
    }
  }
}
