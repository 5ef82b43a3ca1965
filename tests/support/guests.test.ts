import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Guest, startGuest, startGuestOrSkip, type VictimFork, type VictimMark, type WavefrontInfo, guestsUnavailable } from './guest.ts'
import { liveImage, tamper } from './live-image.ts'
import { isAlive, leftBehind, readTaskState, untilTaskState } from './task-state.ts'
import { checkOdd, checkVictim, checkWavefront } from './wavefront-check.ts'

const options = { skip: guestsUnavailable() }
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** A guest that nobody disturbed has nothing to complain of. */
async function assertFine(guest: Guest<unknown>): Promise<void> {
  const verdict = await guest.finish()
  assert.equal(verdict.kind, 'ok', JSON.stringify(verdict))
}

for (const args of [['4', '256'], ['2', '256', 'churn'], ['2', '1024', 'thp'], ['2', '256', 'shared', 'pace=20'], ['2', '256', 'file', 'cold=16']]) {
  test(`wavefront ${args.join(' ')} left alone is fine, and whole when it is stopped`, options, async () => {
    await using guest = await startGuest('wavefront', args)
    await sleep(300)
    guest.kill('SIGSTOP')
    await untilTaskState(guest.pid, (state) => state.threads.every((thread) => thread.state === 'T'))
    using image = liveImage(guest.pid)
    const { problems, checked } = checkWavefront(guest.info, image)
    assert.deepEqual(problems, [])
    assert.ok(checked.pages >= 512, `only ${checked.pages} pages were checked`)
    assert.equal(checked.stableBlocks > 0, args.includes('churn'))
    guest.kill('SIGCONT')
    await assertFine(guest)
  })
}

test('an image of a wavefront that ran on is found torn', options, async () => {
  await using guest = await startGuest('wavefront', ['4', '1024', 'churn'])
  using image = liveImage(guest.pid)
  assert.ok(await findsTorn(guest, image), 'twenty torn images and none was found out')
  await assertFine(guest)
})

async function findsTorn(guest: Guest<WavefrontInfo>, image: ReturnType<typeof liveImage>): Promise<boolean> {
  for (let i = 0; i < 20; i++) {
    if (checkWavefront(guest.info, image).problems.length > 0) return true
    await sleep(10)
  }
  return false
}

test('a foreign write is noticed by wavefront', options, async () => {
  await using guest = await startGuest('wavefront', ['2', '64'])
  tamper(guest.pid, BigInt(guest.info.threads[0]?.start ?? 0) + BigInt(guest.info.firstOffset), 7n)
  const verdict = await guest.finish()
  assert.equal(verdict.kind, 'failed')
})

test('blocked left alone sees no EINTR but those of its signals', options, async () => {
  await using guest = await startGuest('blocked', ['400'])
  await sleep(1700)
  await assertFine(guest)
})

test('blocked tells of a stop that made its calls late', options, async () => {
  await using guest = await startGuest('blocked', ['100'])
  guest.kill('SIGSTOP')
  await sleep(700)
  guest.kill('SIGCONT')
  await sleep(300)
  const verdict = await guest.finish()
  assert.equal(verdict.kind, 'failed')
})

test('victim measures its gaps, forks, and its image agrees with its numbers', options, async () => {
  await using guest = await startGuest('victim', ['32', '20000', 'threads', '2'])
  const fork = await guest.ask<VictimFork>(`fork ${guest.folder}/save`)
  assert.equal(fork.childStatus, 0)
  const mark = await guest.ask<VictimMark>('mark')
  assert.ok(mark.writes > 0 && mark.worstGapNs > 0 && fork.forkNs < fork.childTotalNs)
  guest.kill('SIGSTOP')
  await untilTaskState(guest.pid, (state) => state.threads.every((thread) => thread.state === 'T'))
  using image = liveImage(guest.pid)
  assert.deepEqual(checkVictim(guest.info, image).problems, [])
  guest.kill('SIGCONT')
  await assertFine(guest)
})

const MODES = ['zombie-leader', 'exec-soon', 'vfork', 'dstate', 'many-threads', 'sleeper', 'spin', 'prot-none', 'many-mappings', 'sparse', 'dontdump', 'alias', 'own-uffd', 'pinned', 'rseq']
for (const mode of MODES) {
  test(`odd ${mode} left alone is fine`, options, async (t) => {
    await using guest = await startGuestOrSkip(t, 'odd', [mode])
    if (guest === undefined) return
    const before = readTaskState(guest.pid)
    await sleep(100)
    if (mode !== 'exec-soon' && mode !== 'pinned') assert.deepEqual(leftBehind(before, readTaskState(guest.pid)), [])
    await assertFine(guest)
  })
}

test('odd prot-none notices what was written behind its back, and so does its checker', options, async () => {
  await using guest = await startGuest('odd', ['prot-none'])
  using image = liveImage(guest.pid)
  tamper(guest.pid, BigInt(guest.info.blocks[0]?.start ?? 0) + 64n, 1n)
  assert.match(checkOdd(guest.info, image).problems.join('\n'), /hidden .* page 0 holds 1 /)
  assert.equal((await guest.finish()).kind, 'failed')
})

test('a guest that is stopped is seen stopped, and dies with its harness', options, async () => {
  await using guest = await startGuest('odd', ['stopped'])
  const state = await untilTaskState(guest.pid, ({ stopped }) => stopped)
  assert.equal(state.traced, false)
  assert.equal((await guest.finish(300)).kind, 'hung')
  assert.equal(isAlive(guest.pid), false)
})
