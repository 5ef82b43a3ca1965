import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import type { TestContext } from 'node:test'
import { startGuestOrSkip, type Guest, type PagekindsInfo } from './guest.ts'
import { untilTaskState } from './task-state.ts'

const HUGE_PAGES = '/proc/sys/vm/nr_hugepages'
const HUGE_PAGES_NEEDED = 4

/** Has some huge pages, if we may, for as long as the scope lasts. */
export function reserveHugePages(): Disposable {
  if (process.getuid?.() !== 0) return { [Symbol.dispose]: () => {} }
  const change = (by: number): void => writeFileSync(HUGE_PAGES, String(Number(readFileSync(HUGE_PAGES, 'utf8')) + by))
  change(HUGE_PAGES_NEEDED)
  return { [Symbol.dispose]: () => change(-HUGE_PAGES_NEEDED) }
}

/** Runs `body` with a guest of every kind of page that stands still, and afterwards lets it end well. */
export async function withPagekinds(t: TestContext, args: readonly string[], body: (guest: Guest<PagekindsInfo>) => Promise<void>): Promise<void> {
  await using guest = await startGuestOrSkip(t, 'pagekinds', args)
  if (guest === undefined) return
  guest.kill('SIGSTOP')
  await untilTaskState(guest.pid, ({ threads }) => threads.every(({ state }) => state === 'T'))
  await body(guest)
  guest.kill('SIGCONT')
  const verdict = await guest.finish()
  assert.equal(verdict.kind, 'ok', JSON.stringify(verdict))
}
