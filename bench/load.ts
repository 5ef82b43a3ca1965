/** What else runs on this machine, and what memory costs a tool: read from /proc, all of it by the bench itself. */
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'

/** The unit of /proc/stat and /proc/PID/stat: USER_HZ, 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100
/** Above this a run counts as disturbed. */
export const BUSY_PERCENT_MAX = 10

interface Ticks {
  readonly atNs: bigint
  readonly busy: number
  /** Of that ours: the bench, the tools it has waited for, the victim and its children. */
  readonly own: number
}

/** How much of the processors others used from its construction to `percent()`. */
export class OtherLoad {
  readonly #victim: number | undefined
  readonly #start: Ticks

  constructor(victim?: number) {
    this.#victim = victim
    this.#start = readTicks(victim)
  }

  percent(): number {
    const { atNs, busy, own } = readTicks(this.#victim)
    const wall = Number(atNs - this.#start.atNs) / 1e9 * TICKS_PER_SECOND * availableParallelism()
    const others = busy - this.#start.busy - (own - this.#start.own)
    return wall < 1 ? 0 : Math.max(0, others / wall * 100)
  }
}

function readTicks(victim: number | undefined): Ticks {
  // user nice system idle iowait irq softirq steal; what a guest of ours uses is in user already.
  const fields = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0]!.split(/\s+/).slice(1, 9).map(Number)
  const idle = fields[3]! + fields[4]!
  const busy = fields.reduce((sum, ticks) => sum + ticks, 0) - idle
  return { atNs: process.hrtime.bigint(), busy, own: ownTicks('self') + (victim === undefined ? 0 : ownTicks(victim)) }
}

/** utime, stime, cutime and cstime, fields 14 to 17; the name in field 2 may hold anything, so count from its end. */
function ownTicks(pid: number | 'self'): number {
  const text = readIfThere(`/proc/${pid}/stat`)
  // A victim that died is missed, and accused of, by whoever asks it something.
  if (text === undefined) return 0
  return text.slice(text.lastIndexOf(')') + 2).split(' ').slice(11, 15).map(Number).reduce((sum, ticks) => sum + ticks, 0)
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')) return undefined
    throw error
  }
}

/** Thirty ticks of each processor: enough to tell a tenth. Who does not wait only wants to note it. */
const WINDOW_MS = 300
const GLANCE_MS = 100

/** Waits until others use little of the processors, `waitMs` at most. Returns how much they used when it gave up waiting. */
export async function awaitQuiet(waitMs: number, signal: AbortSignal): Promise<number> {
  const until = performance.now() + waitMs
  for (;;) {
    const load = new OtherLoad()
    await sleep(waitMs > 0 ? WINDOW_MS : GLANCE_MS, undefined, { signal })
    const percent = load.percent()
    if (percent < BUSY_PERCENT_MAX || performance.now() >= until) return percent
  }
}

const SAMPLE_MS = 20

/** How much more anonymous memory the machine has in use than at the beginning, at most: tool, copies on write, all of it. */
export class MemoryPeak implements Disposable {
  readonly #before = anonymousBytes()
  #peak = this.#before
  readonly #timer = setInterval(() => this.#sample(), SAMPLE_MS)

  get bytes(): number {
    this.#sample()
    return this.#peak - this.#before
  }

  #sample(): void {
    this.#peak = Math.max(this.#peak, anonymousBytes())
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }
}

function anonymousBytes(): number {
  return memoryField('AnonPages')
}

export function memoryField(name: 'AnonPages' | 'MemAvailable' | 'MemTotal'): number {
  const match = new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(readFileSync('/proc/meminfo', 'utf8'))
  return Number(match?.[1] ?? 0) * 1024
}
