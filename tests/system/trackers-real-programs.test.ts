/**
 * Real programs under load are tracked for a while. A mirror of their memory is kept by the reports alone; in the end, with the
 * program standing still, it must be the memory, byte for byte. TIDEMARK_TRACK_SECONDS=300 takes longer.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test, type TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { attach, type LiveTracking, type Target, TRACKER_NAMES, type TrackerName, type WrittenReport } from 'tidemark'
import { guestsUnavailable } from '../support/guest.ts'
import { MemoryMirror } from '../support/memory-mirror.ts'
import { HttpLoad, startNodeServer } from '../support/node-server.ts'
import { createAccounts, postgresMissing, startPostgres, TransferLoad } from '../support/postgres.ts'
import { programMissing } from '../support/programs.ts'
import { type Random, seededRandom } from '../support/random.ts'
import { RedisLoad, startRedis } from '../support/redis.ts'
import { untilTaskState } from '../support/task-state.ts'
import { trackerUnavailable } from '../support/tracker-subjects.ts'
import { ReportedPages } from '../support/tracker-check.ts'

const SECONDS = Number(process.env['TIDEMARK_TRACK_SECONDS'] ?? 8)
/** For trackers that are not the first choice. */
const SECONDS_BESIDE = Math.min(SECONDS, 4)
const REDIS_MIB = 64

interface Followed {
  readonly reports: number
  readonly reportedPages: number
  readonly stopMsMax: number
  readonly trackers: string
  readonly compared: number
  readonly problems: readonly string[]
}

interface Plan {
  readonly how: string
  readonly trackers: readonly TrackerName[]
  readonly seconds: number
  /** The program stands still for every report and for the copy after it. */
  readonly standing?: true
  /** Keeps no report but the last: what the mirror must notice. */
  readonly losesReports?: true
}

async function standing(pid: number): Promise<AsyncDisposable> {
  process.kill(pid, 'SIGSTOP')
  const going = { [Symbol.asyncDispose]: () => Promise.resolve(void process.kill(pid, 'SIGCONT')) }
  await untilTaskState(pid, ({ stopped }) => stopped).catch((error: unknown) => {
    process.kill(pid, 'SIGCONT')
    throw error
  })
  return going
}

/** A program that is tracked and mirrored. */
class MirroredProgram implements AsyncDisposable {
  readonly #pid: number
  readonly #plan: Plan
  readonly #target: Target
  readonly #tracking: LiveTracking
  readonly #mirror: MemoryMirror
  #reports = 0
  #reportedPages = 0
  #stopNsMax = 0

  private constructor(pid: number, plan: Plan, target: Target, tracking: LiveTracking) {
    this.#pid = pid
    this.#plan = plan
    this.#target = target
    this.#tracking = tracking
    this.#mirror = new MemoryMirror(pid, { read: (at, length) => target.read(at, length) })
  }

  static async begin(pid: number, plan: Plan): Promise<MirroredProgram> {
    const target = await attach(pid)
    await using _ = plan.standing ? await standing(pid) : undefined
    const program = new MirroredProgram(pid, plan, target, await target.track({ trackers: plan.trackers }))
    await program.#mirror.copyAll()
    return program
  }

  async collect(): Promise<WrittenReport> {
    await using _ = this.#plan.standing ? await standing(this.#pid) : undefined
    const report = await this.#tracking.collect()
    if (!this.#plan.losesReports) await this.#mirror.update(report)
    this.#reports++
    this.#reportedPages += report.writtenPages
    this.#stopNsMax = Math.max(this.#stopNsMax, report.stopNs)
    return report
  }

  /** Stops the program and compares. What a blind spot names may differ. */
  async compare(): Promise<Followed> {
    await using _ = await standing(this.#pid)
    const last = await this.#tracking.collect()
    await this.#mirror.update(last)
    const { compared, found } = this.#mirror.differences()
    const pages = new ReportedPages(last)
    const problems = found.filter(({ page }) => (pages.mappingAt(page)?.blindSpots.length ?? 0) === 0)
      .map(({ page, bytes, mapping }) => `page 0x${page.toString(16)}000 of ${mapping}, followed by ${pages.mappingAt(page)?.tracker ?? 'nobody'}, differs from the mirror in ${bytes} bytes: a write was missed`)
    const used = [...new Set(last.mappings.map(({ tracker }) => tracker))].join(', ')
    return { reports: this.#reports, reportedPages: this.#reportedPages, stopMsMax: this.#stopNsMax / 1e6, trackers: used, compared, problems: problems.slice(0, 8) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#mirror[Symbol.dispose]()
    await this.#tracking[Symbol.asyncDispose]()
    await this.#target[Symbol.asyncDispose]()
  }
}

/** Collects every 100 ms to 1 s for as long as planned, then compares. */
async function follow(pid: number, plan: Plan, random: Random): Promise<Followed> {
  await using program = await MirroredProgram.begin(pid, plan)
  for (const end = performance.now() + plan.seconds * 1_000; performance.now() < end;) {
    await delay(random.between(100, 1_000))
    await program.collect()
  }
  return await program.compare()
}

function tell(t: TestContext, what: string, followed: Followed, load: string): void {
  t.diagnostic(`${what}: ${followed.reports} reports of ${followed.reportedPages} pages by ${followed.trackers}; longest stop ${followed.stopMsMax.toFixed(2)} ms; ${followed.compared} pages as in the mirror; ${load}`)
}

/**
 * compare sees what a page holds at two moments and nothing between them: a copy that is made meanwhile, and before the page
 * was changed back, differs for good. Such copies need a program that stands still.
 */
const PLANS: readonly Plan[] = [
  { how: 'the best trackers', trackers: TRACKER_NAMES, seconds: SECONDS },
  { how: 'wp-sync', trackers: ['wp-sync'], seconds: SECONDS_BESIDE },
  { how: 'compare', trackers: ['compare'], seconds: SECONDS_BESIDE, standing: true },
]

/** wp-sync makes the program wait for us, which the kernel allows only a program with CAP_SYS_PTRACE, or all by a sysctl. */
function unprivilegedCannot(trackers: readonly TrackerName[]): string | false {
  const allowed = readFileSync('/proc/sys/vm/unprivileged_userfaultfd', 'utf8').trim() === '1'
  return trackers[0] === 'wp-sync' && !allowed ? 'the server is no root, and vm.unprivileged_userfaultfd is 0' : false
}

for (const plan of PLANS) {
  const { how, trackers, seconds } = plan
  const missing = guestsUnavailable() || trackerUnavailable(trackers[0]!)
  const options = { timeout: 120_000 + seconds * 2_000 }

  test(`redis under load, tracked by ${how}: every write is reported, and no client sees an error`, { ...options, skip: programMissing('redis-server') ?? missing }, async (t) => {
    const server = await startRedis(t, { dataMib: REDIS_MIB })
    const load = await RedisLoad.start(t, server.port)
    const followed = await follow(server.process.pid, plan, seededRandom(t))
    assert.deepEqual(followed.problems, [])
    await load.finish()
    tell(t, 'redis', followed, `${load.batches} batches, the longest ${load.takeLatencyMsMax().toFixed(1)} ms`)
    assert.ok(load.batches > 0)
  })

  test(`a PostgreSQL backend in transactions, tracked by ${how}: every write is reported, and no transaction fails`, { ...options, skip: postgresMissing() ?? (missing || unprivilegedCannot(trackers)) }, async (t) => {
    const server = await startPostgres(t)
    await createAccounts(await server.connect())
    const load = new TransferLoad(await server.connect())
    const followed = await follow(load.backendPid, plan, seededRandom(t))
    assert.deepEqual(followed.problems, [])
    await load.finish()
    tell(t, 'postgres', followed, `${load.transactions} transactions, the longest ${load.latencyMsMax.toFixed(1)} ms`)
    assert.ok(load.transactions > 0)
  })

  test(`a Node HTTP server under load, tracked by ${how}: every write is reported, and every answer is right`, { ...options, skip: missing }, async (t) => {
    const server = await startNodeServer(t)
    const load = new HttpLoad(server.port)
    const followed = await follow(server.process.pid, plan, seededRandom(t))
    assert.deepEqual(followed.problems, [])
    await load.finish()
    tell(t, 'node', followed, `${load.requests} requests, the longest ${load.latencyMsMax.toFixed(1)} ms`)
    assert.ok(load.requests > 0)
  })
}

test('reports that are lost show in the mirror', { timeout: 120_000, skip: guestsUnavailable() || trackerUnavailable('wp-async') }, async (t) => {
  const server = await startNodeServer(t)
  const load = new HttpLoad(server.port)
  const followed = await follow(server.process.pid, { how: 'losing', trackers: ['wp-async'], seconds: 2, losesReports: true }, seededRandom(t))
  await load.finish()
  assert.match(followed.problems[0] ?? 'no difference', /differs from the mirror in \d+ bytes: a write was missed/)
})
