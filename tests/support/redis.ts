import { connect, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { freePort, requireProgram, startProgram, temporaryFolder, until, type RunningProgram } from './programs.ts'

export type Reply = string | number | null

/** A connection that speaks RESP, so that what the client sees is what the server sent and no library's retries. */
export class RedisClient {
  readonly #socket: Socket
  readonly #waiting: { readonly resolve: (reply: Reply) => void; readonly reject: (error: Error) => void }[] = []
  #unread: Buffer = Buffer.alloc(0)

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('data', (data) => this.#take(data))
    socket.on('error', (error) => this.#fail(error))
    socket.on('close', () => this.#fail(new Error('the server closed the connection')))
  }

  static connect(port: number): Promise<RedisClient> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1')
      socket.once('error', reject)
      socket.once('connect', () => (socket.off('error', reject), resolve(new RedisClient(socket))))
    })
  }

  /** Sends all commands in one piece; the replies come in their order. An error reply rejects. */
  pipeline(commands: readonly (readonly string[])[]): Promise<Reply[]> {
    const replies = commands.map(() => new Promise<Reply>((resolve, reject) => this.#waiting.push({ resolve, reject })))
    this.#socket.write(commands.map((words) => `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`).join(''))
    return Promise.all(replies)
  }

  async ask(...words: readonly string[]): Promise<Reply> {
    return (await this.pipeline([words]))[0] ?? null
  }

  close(): void {
    this.#socket.destroy()
  }

  #take(data: Buffer): void {
    this.#unread = this.#unread.length === 0 ? data : Buffer.concat([this.#unread, data])
    let at = 0
    for (;;) {
      const lineEnd = this.#unread.indexOf('\r\n', at)
      if (lineEnd < 0) break
      const line = this.#unread.toString('utf8', at + 1, lineEnd)
      const kind = String.fromCharCode(this.#unread[at]!)
      let end = lineEnd + 2
      let reply: Reply | Error = kind === ':' ? Number(line) : line
      if (kind === '-') reply = new Error(`the server says: ${line}`)
      if (kind === '$') {
        const length = Number(line)
        if (length >= 0) end += length + 2
        if (this.#unread.length < end) break
        reply = length < 0 ? null : this.#unread.toString('utf8', lineEnd + 2, lineEnd + 2 + length)
      }
      at = end
      const waiter = this.#waiting.shift()
      if (reply instanceof Error) waiter?.reject(reply)
      else waiter?.resolve(reply)
    }
    this.#unread = this.#unread.subarray(at)
  }

  #fail(error: Error): void {
    for (const waiter of this.#waiting.splice(0)) waiter.reject(error)
  }
}

export interface RedisServer {
  readonly process: RunningProgram
  readonly program: string
  readonly port: number
  readonly folder: string
  /** For questions beside the load. */
  readonly client: RedisClient
}

/** A server of our own on the loopback, with `dataMib` of values of 1 KiB. */
export async function startRedis(t: TestContext, { dataMib }: { readonly dataMib: number }): Promise<RedisServer> {
  const program = requireProgram('redis-server')
  const folder = temporaryFolder(t)
  const port = await freePort()
  const process = startProgram(t, program, ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', folder, '--enable-debug-command', 'yes'], { folder })
  let client: RedisClient | undefined
  await until(async () => (client = await RedisClient.connect(port).catch(() => undefined)) !== undefined, `redis-server answers on port ${port}:\n${process.stdout}`)
  const connected = client!
  t.after(() => connected.close())
  // Of each value's 1,000 bytes the allocator and the table make about 1,200.
  await connected.ask('DEBUG', 'POPULATE', String(Math.round((dataMib * 1_048_576) / 1_200)), 'ballast', '1000')
  return { process, program, port, folder, client: connected }
}

const KEYS = 2_000
const BATCH = 64
const COUNTER_DIGITS = 20

/**
 * A closed loop of pipelined SET and GET, where every GET must return what the last SET of its key stored. First and last
 * in every batch it writes the batch's number into two keys: at any one instant the first is the second's or one more.
 */
export class RedisLoad {
  readonly #client: RedisClient
  readonly #last = new Map<string, string>()
  #running = true
  #loop: Promise<void> = Promise.resolve()
  #batches = 0
  #latencyMsMax = 0

  private constructor(client: RedisClient) {
    this.#client = client
  }

  static async start(t: TestContext, port: number): Promise<RedisLoad> {
    const client = await RedisClient.connect(port)
    t.after(() => client.close())
    const load = new RedisLoad(client)
    await load.#batch()
    load.#loop = load.#run()
    // Who awaits it comes later; until then a failure must not end the test file.
    load.#loop.catch(() => undefined)
    return load
  }

  get batches(): number {
    return this.#batches
  }

  /** The longest that one batch has taken since this was asked last. */
  takeLatencyMsMax(): number {
    const max = this.#latencyMsMax
    this.#latencyMsMax = 0
    return max
  }

  /** Ends the loop and reads everything once more. Rejects with the first thing that went wrong since the start. */
  async finish(): Promise<void> {
    this.#running = false
    await this.#loop
    const keys = [...this.#last.keys()]
    const values = await this.#client.pipeline(keys.map((key) => ['GET', key]))
    keys.forEach((key, i) => this.#expect(key, values[i] ?? null, this.#last.get(key)))
  }

  async #run(): Promise<void> {
    while (this.#running) await this.#batch()
  }

  async #batch(): Promise<void> {
    const number = String(this.#batches + 1).padStart(COUNTER_DIGITS, '0')
    const commands: string[][] = [['SETRANGE', 'wave:first', '0', number]]
    const expected: (() => void)[] = []
    const replies: Reply[] = []
    for (let i = 0; i < BATCH; i++) {
      const key = `load:${Math.floor(Math.random() * KEYS)}`
      const at = commands.length
      if (i % 2 === 0) {
        const value = `${key}=${number}.${i}`.padEnd(300, '.')
        commands.push(['SET', key, value])
        this.#last.set(key, value)
      } else {
        const value = this.#last.get(key)
        commands.push(['GET', key])
        expected.push(() => this.#expect(key, replies[at] ?? null, value))
      }
    }
    commands.push(['SETRANGE', 'wave:last', '0', number])
    const start = performance.now()
    replies.push(...await this.#client.pipeline(commands))
    this.#latencyMsMax = Math.max(this.#latencyMsMax, performance.now() - start)
    this.#batches++
    for (const check of expected) check()
  }

  #expect(key: string, got: Reply, wanted: string | undefined): void {
    if (got !== (wanted ?? null)) throw new Error(`GET ${key} returned ${JSON.stringify(got)}, last SET was ${JSON.stringify(wanted)}`)
  }
}

/** Where the server keeps a string's object: `Value at:0x…` of DEBUG OBJECT. */
export async function objectAddress(client: RedisClient, key: string): Promise<bigint> {
  const found = /Value at:0x([0-9a-f]+)/.exec(String(await client.ask('DEBUG', 'OBJECT', key)))
  if (found === null) throw new Error(`no address for ${key}`)
  return BigInt(`0x${found[1]}`)
}

/** The first bytes of a string object, by way of its pointer: `struct redisObject`, server.h of Redis 5 to 7. */
export function readObject(read: (at: bigint, length: number) => Uint8Array, object: bigint, length: number): string {
  const header = Buffer.from(read(object, 16))
  return Buffer.from(read(header.readBigUInt64LE(8), length)).toString('latin1')
}

/** The batch that a counter key of {@link RedisLoad} was at in the image. */
export function readCounter(read: (at: bigint, length: number) => Uint8Array, object: bigint): number {
  return Number(readObject(read, object, COUNTER_DIGITS))
}
