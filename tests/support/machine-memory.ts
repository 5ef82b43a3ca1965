/** What a test has to ask of the whole machine: each gives back what it found. Undefined where the machine does not allow it. */
import { readFileSync, writeFileSync } from 'node:fs'

const HUGE_PAGES = '/proc/sys/vm/nr_hugepages'
const KSM = '/sys/kernel/mm/ksm'

function tryTo<T>(body: () => T): T | undefined {
  try {
    return body()
  } catch {
    return undefined
  }
}

const read = (file: string): string => readFileSync(file, 'utf8').trim()

/** Reserves huge pages beside those that are reserved already. */
export function reserveHugePages(count: number): Disposable | undefined {
  const before = tryTo(() => Number(read(HUGE_PAGES)))
  if (before === undefined) return undefined
  const giveBack = (): void => { tryTo(() => writeFileSync(HUGE_PAGES, String(Math.max(0, Number(read(HUGE_PAGES)) - count)))) }
  tryTo(() => writeFileSync(HUGE_PAGES, String(before + count)))
  if (Number(read(HUGE_PAGES)) >= before + count) return { [Symbol.dispose]: giveBack }
  tryTo(() => writeFileSync(HUGE_PAGES, String(before)))
  return undefined
}

/** Lets the kernel look for equal pages, as fast as it can. */
export function runKsm(): Disposable | undefined {
  const settings = { run: '1', sleep_millisecs: '10', pages_to_scan: '2000' }
  const before = tryTo(() => Object.keys(settings).map((name) => [name, read(`${KSM}/${name}`)] as const))
  if (before === undefined) return undefined
  const restore = (): void => { for (const [name, value] of before.toReversed()) tryTo(() => writeFileSync(`${KSM}/${name}`, value)) }
  for (const [name, value] of Object.entries(settings)) tryTo(() => writeFileSync(`${KSM}/${name}`, value))
  if (read(`${KSM}/run`) === '1') return { [Symbol.dispose]: restore }
  restore()
  return undefined
}

/** How many of the process's pages are merged with equal ones. */
export function mergedPages(pid: number): number {
  return tryTo(() => Number(read(`/proc/${pid}/ksm_merging_pages`))) ?? 0
}
