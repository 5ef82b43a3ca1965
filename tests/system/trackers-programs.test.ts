/** Random programs against every tracker: nothing that was written is missing in a report. TIDEMARK_RUNS=1000 runs more of them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { TRACKER_NAMES } from 'tidemark'
import { guestsUnavailable } from '../support/guest.ts'
import { seededRandom } from '../support/random.ts'
import { programs, runProgram } from '../support/tracker-programs.ts'
import { oracleSubject, type Subject, trackerSubject, trackerUnavailable } from '../support/tracker-subjects.ts'

const skip = guestsUnavailable()
const RUNS = Number(process.env['TIDEMARK_RUNS'] ?? 12)
const SHRINK_MS_MAX = 120_000

/** The shortest program that fails, if one does: its commands are in the message. */
async function tryPrograms(subject: Subject, seed: number, runs: number): Promise<void> {
  const property = fc.asyncProperty(programs, (program) => runProgram(program, subject))
  await fc.assert(property, { seed, numRuns: runs, interruptAfterTimeLimit: Math.max(SHRINK_MS_MAX, runs * 5_000), markInterruptAsFailure: false, includeErrorInReport: true })
}

test(`the oracle and the guest agree about ${RUNS} random programs`, { skip }, async (t) => {
  await tryPrograms(oracleSubject(), seededRandom(t).seed, RUNS)
})

for (const name of TRACKER_NAMES) {
  test(`${name} misses no write of ${RUNS} random programs`, { skip: skip || trackerUnavailable(name) }, async (t) => {
    await tryPrograms(trackerSubject(name), seededRandom(t).seed, RUNS)
  })
}

test('a tracker that loses one page in ten is found out, and the program that shows it is short', { skip }, async (t) => {
  const lossy = oracleSubject((page) => page % 10 === 3)
  await assert.rejects(tryPrograms(lossy, seededRandom(t).seed, 100), (error: Error) => {
    const commands = /after these commands of tests\/guests\/scribe\.c:\n((?: {2}.*\n)+)/.exec(error.message)?.[1]?.trim().split('\n') ?? []
    assert.ok(commands.length > 0 && commands.length <= 8, error.message)
    return true
  })
})
