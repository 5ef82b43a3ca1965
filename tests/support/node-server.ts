import { Agent, request } from 'node:http'
import type { TestContext } from 'node:test'
import { startProgram, type RunningProgram } from './programs.ts'

/** Keeps what it is given, gives it back, and makes garbage all the while, so that its heap moves. */
const SERVER = `
const kept = new Map()
const server = require('node:http').createServer((request, response) => {
  let body = ''
  request.on('data', (piece) => { body += piece })
  request.on('end', () => {
    if (request.method === 'PUT') kept.set(request.url, { body, at: process.hrtime.bigint(), copy: Buffer.from(body.repeat(4)) })
    const found = kept.get(request.url)
    response.end(found === undefined ? '' : found.body.split('').reverse().reverse().join(''))
  })
})
server.listen(0, '127.0.0.1', () => console.log('listening on ' + server.address().port + ' now'))
`

const KEYS = 500
const BODY_BYTES = 2_000

export async function startNodeServer(t: TestContext): Promise<{ readonly process: RunningProgram; readonly port: number }> {
  const server = startProgram(t, process.execPath, ['-e', SERVER])
  await server.says(' now\n')
  return { process: server, port: Number(/listening on (\d+)/.exec(server.stdout)?.[1]) }
}

/** A closed loop of requests; what was put last must come back. */
export class HttpLoad {
  readonly #port: number
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 })
  readonly #last = new Map<string, string>()
  #running = true
  #requests = 0
  #latencyMsMax = 0
  readonly #loop: Promise<void>

  constructor(port: number) {
    this.#port = port
    this.#loop = this.#run()
    // Who awaits it comes later; until then a failure must not end the test file.
    this.#loop.catch(() => undefined)
  }

  get requests(): number {
    return this.#requests
  }

  get latencyMsMax(): number {
    return this.#latencyMsMax
  }

  /** Rejects with the first thing that went wrong since the start. */
  async finish(): Promise<void> {
    this.#running = false
    await this.#loop
    this.#agent.destroy()
  }

  async #run(): Promise<void> {
    while (this.#running) {
      const path = `/${Math.floor(Math.random() * KEYS)}`
      const puts = Math.random() < 0.5
      if (puts) this.#last.set(path, `${path} ${this.#requests} `.padEnd(BODY_BYTES, 'x'))
      const expected = this.#last.get(path) ?? ''
      const start = performance.now()
      const got = await this.#ask(puts ? 'PUT' : 'GET', path, expected)
      this.#latencyMsMax = Math.max(this.#latencyMsMax, performance.now() - start)
      this.#requests++
      if (got !== expected) throw new Error(`${path} gave ${JSON.stringify(got.slice(0, 40))}, not ${JSON.stringify(expected.slice(0, 40))}`)
    }
  }

  #ask(method: string, path: string, body: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const asked = request({ port: this.#port, host: '127.0.0.1', method, path, agent: this.#agent }, (response) => {
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (piece: string) => { text += piece })
        response.once('end', () => resolve(text))
        response.once('error', reject)
      })
      asked.once('error', reject)
      asked.end(method === 'PUT' ? body : undefined)
    })
  }
}
