import { chmodSync, chownSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { TestContext } from 'node:test'
import { findProgram, programMissing, requireProgram, run, startProgram, temporaryFolder, until, type RunningProgram } from './programs.ts'

/** Who runs the server when we are root, which it refuses to be: the package's own user, or else one without rights. */
const SERVER_USERS = ['postgres', 'nobody']

interface User {
  readonly uid: number
  readonly gid: number
}

/** The reason to skip a test that needs a database server; undefined if there is all it takes. */
export function postgresMissing(): string | undefined {
  if (process.getuid?.() !== 0) return programMissing('postgres', 'initdb', 'psql')
  if (serverUser() === undefined) return `no user ${SERVER_USERS.join(' or ')} to run the server as`
  return programMissing('postgres', 'initdb', 'psql', 'setpriv')
}

function serverUser(): User | undefined {
  const lines = readFileSync('/etc/passwd', 'utf8').split('\n').map((line) => line.split(':'))
  const found = SERVER_USERS.map((name) => lines.find(([user]) => user === name)).find((line) => line !== undefined)
  return found === undefined ? undefined : { uid: Number(found[2]), gid: Number(found[3]) }
}

/** The command line that runs a program as the server's user. setpriv becomes the program, so that the pid stays. */
function asServerUser(program: string, args: readonly string[]): readonly [string, readonly string[]] {
  const user = serverUser()
  if (process.getuid?.() !== 0 || user === undefined) return [program, args]
  return ['setpriv', [`--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups', program, ...args]]
}

export interface PostgresServer {
  readonly process: RunningProgram
  /** The server's program, which every backend runs. */
  readonly program: string
  readonly folder: string
  /** Another session, until the test ends. */
  connect(): Promise<Session>
}

/** A cluster of our own, reached by a Unix socket in its own folder only. */
export async function startPostgres(t: TestContext): Promise<PostgresServer> {
  const program = requireProgram('postgres')
  const initdb = requireProgram('initdb', [dirname(program)])
  const psql = findProgram('psql', [dirname(program)]) ?? 'psql'
  // The socket's path may have 107 bytes, so it lies beside the data and not within it.
  const folder = temporaryFolder(t)
  const user = serverUser()
  chmodSync(folder, 0o700)
  if (process.getuid?.() === 0 && user !== undefined) chownSync(folder, user.uid, user.gid)
  const data = join(folder, 'data')
  const made = await run(...asServerUser(initdb, ['-D', data, '-U', 'tide', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync']))
  if (made.code !== 0) throw new Error(`initdb failed:\n${made.stdout}${made.stderr}`)
  const settings = ['listen_addresses=', `unix_socket_directories=${folder}`, 'fsync=off', 'autovacuum=off', 'shared_buffers=64MB', 'huge_pages=off']
  const [command, args] = asServerUser(program, ['-D', data, ...settings.flatMap((setting) => ['-c', setting])])
  // SIGINT is the fast shutdown, which takes the backends and the shared memory along.
  const server = startProgram(t, command, args, { folder, endBy: 'SIGINT' })
  const start = (): RunningProgram => startProgram(t, psql, ['-X', '-q', '-A', '-t', '-h', folder, '-U', 'tide', '-v', 'ON_ERROR_STOP=1', 'postgres'], { folder })
  await until(() => {
    if (server.ended) throw new Error(`postgres ended: ${server.stderr}`)
    return server.stderr.includes('ready to accept connections')
  }, 'postgres is ready')
  return { process: server, program, folder, connect: () => Session.open(start()) }
}

/** A session of psql that is fed by us: one backend of the server for as long as it lives. */
export class Session {
  readonly backendPid: number
  readonly #psql: RunningProgram
  #asked = 0

  private constructor(psql: RunningProgram, backendPid: number) {
    this.#psql = psql
    this.backendPid = backendPid
  }

  static async open(psql: RunningProgram): Promise<Session> {
    psql.write('SELECT pg_backend_pid();\n\\echo connected\n')
    await psql.says('connected\n')
    return new Session(psql, Number(psql.stdout.split('\n')[0]))
  }

  /** Runs statements and returns what they print. An error of the server rejects: psql ends at the first. */
  async query(sql: string, withinMs?: number): Promise<string> {
    const from = this.#psql.stdout.length
    const mark = `--done-${this.#asked++}--\n`
    this.#psql.write(`${sql}\n\\echo ${mark}`)
    await this.#psql.says(mark, withinMs)
    if (this.#psql.stderr !== '') throw new Error(`psql says: ${this.#psql.stderr}`)
    return this.#psql.stdout.slice(from).replace(mark, '').trim()
  }
}

export const ACCOUNTS = 500
export const BALANCE = 1_000

/** What a transfer is tried on: the sum of all balances never changes, in no snapshot of the database. */
export async function createAccounts(session: Session): Promise<void> {
  await session.query(`CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL, filler text NOT NULL);
INSERT INTO account SELECT n, ${BALANCE}, repeat('x', 400) FROM generate_series(1, ${ACCOUNTS}) n;
CREATE TABLE transfer (id bigserial PRIMARY KEY, amount int NOT NULL);`)
}

/** A closed loop of transactions of several statements each, until it is told to finish. */
export class TransferLoad {
  readonly backendPid: number
  readonly #session: Session
  #running = true
  #transactions = 0
  #latencyMsMax = 0
  readonly #loop: Promise<void>

  constructor(session: Session) {
    this.#session = session
    this.backendPid = session.backendPid
    this.#loop = this.#run()
    this.#loop.catch(() => undefined)
  }

  get transactions(): number {
    return this.#transactions
  }

  get latencyMsMax(): number {
    return this.#latencyMsMax
  }

  /** Rejects with the first thing that went wrong since the start. */
  async finish(): Promise<void> {
    this.#running = false
    await this.#loop
  }

  async #run(): Promise<void> {
    while (this.#running) {
      const amount = 1 + Math.floor(Math.random() * 50)
      // In ascending order, so that two loads never wait for each other in a circle.
      const [low, high] = [1 + Math.floor(Math.random() * (ACCOUNTS - 1)), ACCOUNTS]
      const start = performance.now()
      await this.#session.query(`BEGIN;
UPDATE account SET balance = balance - ${amount} WHERE id = ${low};
UPDATE account SET balance = balance + ${amount} WHERE id = ${high};
INSERT INTO transfer (amount) VALUES (${amount});
SELECT count(*), sum(length(filler)) FROM account;
COMMIT;`)
      this.#latencyMsMax = Math.max(this.#latencyMsMax, performance.now() - start)
      this.#transactions++
    }
  }
}
