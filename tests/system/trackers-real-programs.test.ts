/**
 * Real programs under load are tracked for a while. A mirror of their memory is kept by the reports alone; in the end, with the
 * program standing still, it must be the memory, byte for byte. TIDEMARK_TRACK_SECONDS=300 takes longer.
 */
import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { attach, type TrackerName, type WrittenReport } from 'tidemark'
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

const SECONDS = Number(process.env['TIDEMARK_TRACK_SECONDS'] ?? 20)
/** For trackers that are not the first choice. */
const SECONDS_BESIDE = Math.min(SECONDS, 6)
const REDIS_MIB = 64

interface Followed {
  readonly reports: number
  readonly reportedPages: number
  readonly stopMsMax: number
  readonly trackers: string
}

/** Collects every 100 ms to 1 s, until `seconds` are over; then stops the program and compares. `loses` leaves out what it names. */
async function follow(pid: number, trackers: readonly TrackerName[] | undefined, seconds: number, random: Random, loses: (turn: number) => boolean = () => false): Promise<Followed & { readonly compared: number; readonly problems: string[] }> {
  await using target = await attach(pid)
  await using tracking = await target.track(trackers === undefined ? {} : { trackers })
  using mirror = new MemoryMirror(pid, { read: (at, length) => target.read(at, length) })
  await mirror.copyAll()
  let [reports, reportedPages, stopNsMax] = [0, 0, 0]
  const collect = async (): Promise<WrittenReport> => {
    const report = await tracking.collect()
    if (!loses(reports)) await mirror.update(report)
    reports++
    reportedPages += report.writtenPages
    stopNsMax = Math.max(stopNsMax, report.stopNs)
    return report
  }
  for (const end = performance.now() + seconds * 1_000; performance.now() < end;) {
    await delay(random.between(100, 1_000))
    await collect()
  }
  process.kill(pid, 'SIGSTOP')
  try {
    await untilTaskState(pid, ({ stopped }) => stopped)
    const last = await collect()
    const { compared, found } = mirror.differences()
    const pages = new ReportedPages(last)
    const unexplained = found.filter(({ page }) => (pages.mappingAt(page)?.blindSpots.length ?? 0) === 0)
    const problems = unexplained.slice(0, 8).map(({ page, bytes, mapping }) => `page 0x${page.toString(16)}000 of ${mapping}, followed by ${pages.mappingAt(page)?.tracker ?? 'nobody'}, differs from the mirror in ${bytes} bytes: a write was missed`)
    const used = [...new Set(last.mappings.map(({ tracker }) => tracker))].join(', ')
    return { reports, reportedPages, stopMsMax: stopNsMax / 1e6, trackers: used, compared, problems }
  } finally {
    process.kill(pid, 'SIGCONT')
  }
}

function tell(t: TestContext, what: string, followed: Followed & { readonly compared: number }, load: string): void {
  t.diagnostic(`${what}: ${followed.reports} reports of ${followed.reportedPages} pages by ${followed.trackers}; longest stop ${followed.stopMsMax.toFixed(2)} ms; ${followed.compared} pages as in the mirror; ${load}`)
}

const PLANS: readonly (readonly [string, readonly TrackerName[] | undefined, number])[] = [
  ['the best trackers', undefined, SECONDS], ['wp-sync', ['wp-sync'], SECONDS_BESIDE], ['compare', ['compare'], SECONDS_BESIDE],
]

for (const [how, trackers, seconds] of PLANS) {
  const missing = guestsUnavailable() || (trackers === undefined ? false : trackerUnavailable(trackers[0]!))
  const options = { timeout: 120_000 + seconds * 2_000 }

  test(`redis under load, tracked by ${how}: every write is reported, and no client sees an error`, { ...options, skip: programMissing('redis-server') ?? missing }, async (t) => {
    const server = await startRedis(t, { dataMib: REDIS_MIB })
    const load = await RedisLoad.start(t, server.port)
    const followed = await follow(server.process.pid, trackers, seconds, seededRandom(t))
    assert.deepEqual(followed.problems, [])
    await load.finish()
    tell(t, 'redis', followed, `${load.batches} batches, the longest ${load.takeLatencyMsMax().toFixed(1)} ms`)
    assert.ok(load.batches > 0)
  })

  test(`a PostgreSQL backend in transactions, tracked by ${how}: every write is reported, and no transaction fails`, { ...options, skip: postgresMissing() ?? missing }, async (t) => {
    const server = await startPostgres(t)
    await createAccounts(await server.connect())
    const load = new TransferLoad(await server.connect())
    const followed = await follow(load.backendPid, trackers, seconds, seededRandom(t))
    assert.deepEqual(followed.problems, [])
    await load.finish()
    tell(t, 'postgres', followed, `${load.transactions} transactions, the longest ${load.latencyMsMax.toFixed(1)} ms`)
    assert.ok(load.transactions > 0)
  })

  test(`a Node HTTP server under load, tracked by ${how}: every write is reported, and every answer is right`, { ...options, skip: missing }, async (t) => {
    const server = await startNodeServer(t)
    const load = new HttpLoad(server.port)
    const followed = await follow(server.process.pid, trackers, seconds, seededRandom(t))
    assert.deepEqual(followed.problems, [])
    await load.finish()
    tell(t, 'node', followed, `${load.requests} requests, the longest ${load.latencyMsMax.toFixed(1)} ms`)
    assert.ok(load.requests > 0)
  })
}

test('a report that is lost shows in the mirror', { timeout: 120_000, skip: guestsUnavailable() || trackerUnavailable('wp-async') }, async (t) => {
  const server = await startNodeServer(t)
  const load = new HttpLoad(server.port)
  const followed = await follow(server.process.pid, undefined, 2, seededRandom(t), (turn) => turn === 1)
  await load.finish()
  assert.match(followed.problems[0] ?? 'no difference', /differs from the mirror in \d+ bytes: a write was missed/)
})
