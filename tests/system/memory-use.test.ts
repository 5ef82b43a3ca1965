// A dump reads memory without making more of it: no hole is filled, and what processes share since a fork stays one copy.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, test } from 'node:test'
import { dump } from 'tidemark'
import { Scratch } from '../support/cli.ts'
import { guestsUnavailable, startGuest } from '../support/guest.ts'
import { openCore } from '../support/image.ts'
import { checkHotCold } from '../support/wavefront-check.ts'

const scratch = new Scratch()
after(() => scratch[Symbol.dispose]())
const skip = guestsUnavailable()
const COLD_MIB = 48

/** One line of a file under /proc/PID, in MiB. */
function mib(pid: number, file: string, key: string): number {
  return Number(new RegExp(`^${key}:\\s*(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/${file}`, 'latin1'))?.[1] ?? Number.NaN) / 1024
}

for (const strategy of ['stop', 'fork', 'precopy'] as const) {
  test(`${strategy}: a hole of shared memory stays a hole, and is not read in the pause`, { skip }, async () => {
    await using guest = await startGuest('hotcold', ['1', String(COLD_MIB), 'shared'])
    const before = mib(guest.pid, 'status', 'RssShmem')
    const output = scratch.file('hole.core')
    const result = await dump(guest.pid, { output, replace: true, strategy })
    const then = mib(guest.pid, 'status', 'RssShmem')
    assert.ok(before >= COLD_MIB && then - before < 1, `${before} and then ${then} MiB of shared memory`)
    const holePages = guest.info.cold.pages
    if (strategy === 'precopy') assert.ok(result.dirtyAtPausePages < holePages / 2, `${result.dirtyAtPausePages} pages in the pause`)
    using opened = openCore(output)
    assert.deepEqual(checkHotCold(guest.info, opened.image).problems, [])
    assert.equal((await guest.finish()).kind, 'ok')
  })

  test(`${strategy}: pages that a fork shares are still shared afterwards`, { skip }, async () => {
    await using guest = await startGuest('hotcold', ['1', String(COLD_MIB), 'fork'])
    const before = mib(guest.pid, 'smaps_rollup', 'Pss_Anon')
    const output = scratch.file('fork.core')
    await dump(guest.pid, { output, replace: true, strategy })
    const then = mib(guest.pid, 'smaps_rollup', 'Pss_Anon')
    assert.ok(before < COLD_MIB * 0.75, `${before} MiB: the guest shares its memory with its child`)
    assert.ok(then - before < 2, `${before} and then ${then} MiB, each page divided by those who share it`)
    using opened = openCore(output)
    assert.deepEqual(checkHotCold(guest.info, opened.image).problems, [])
    assert.equal((await guest.finish()).kind, 'ok')
  })
}
