/** Where the outcomes go: to the screen, or line by line to standard output. */
import { once } from 'node:events'
import type { WatchOutcome } from '../index.ts'
import { painter } from './table.ts'
import { LiveView } from './top-live.ts'
import type { Pace } from './top-pace.ts'
import { formatLine, formatOnce, LINE_TITLES, toJsonLine } from './top-plain.ts'

export interface View extends Disposable {
  /** Ends when the next may come: a slow reader makes the looks rarer, not the queue longer. */
  readonly show: (outcome: WatchOutcome) => void | Promise<void>
  /** For people, beside the data. */
  readonly tell: (text: string) => void
}

export interface ViewOptions {
  readonly pids: readonly number[]
  readonly pace: Pace
  /** Nanoseconds. */
  readonly interval: number
  readonly once?: boolean
  readonly json?: boolean
  readonly metricsUrl: string | undefined
}

export function viewOf({ pids, pace, interval, once, json, metricsUrl }: ViewOptions): View {
  const message = metricsUrl === undefined ? '' : `metrics at ${metricsUrl}/metrics`
  if (!json && !once && process.stdout.isTTY && process.env['TERM'] !== 'dumb') return new LiveView({ pids, intervalNs: interval, pace, message })
  if (message !== '') tellPeople(message)
  const show = json ? toJsonLine : once ? tables() : lines()
  return {
    show: (outcome) => print(show(outcome), pace),
    tell: json ? () => {} : tellPeople,
    [Symbol.dispose]: () => {},
  }
}

async function print(text: string, pace: Pace): Promise<void> {
  if (text === '' || process.stdout.write(`${text}\n`)) return
  await pace.unlessEnded(once(process.stdout, 'drain'))
}

function tables(): (outcome: WatchOutcome) => string {
  const paint = painter(process.stdout)
  let before = ''
  return (outcome) => {
    if (outcome.kind !== 'sample') return ''
    const text = before + formatOnce(outcome.sample, paint).join('\n')
    before = '\n'
    return text
  }
}

function lines(): (outcome: WatchOutcome) => string {
  let before = `${LINE_TITLES}\n`
  return (outcome) => {
    if (outcome.kind !== 'sample') return ''
    const text = before + formatLine(outcome.sample)
    before = ''
    return text
  }
}

export function tellPeople(text: string): void {
  process.stderr.write(`tidemark: ${text}\n`)
}
