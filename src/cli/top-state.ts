/** What the live view knows: plain values, made anew by each outcome and each key. */
import type { MappingSample, WatchOutcome, WatchSample } from '../index.ts'
import type { SortKey } from './top-keys.ts'
import { printable } from './text-width.ts'

/** As many values as the widest sparkline shows. */
export const TREND_LENGTH = 20

export interface ProcessView {
  readonly pid: number
  readonly name: string
  /** The last one; undefined before the first. */
  readonly sample: WatchSample | undefined
  /** Written pages per second, newest last; of the process, and by {@link mappingKey} of its mappings. */
  readonly trend: readonly number[]
  readonly trends: ReadonlyMap<string, readonly number[]>
  /** What became of it last, in words: that it executed another program, that it forked. */
  readonly note: string
  readonly gone: boolean
}

export interface TopState {
  readonly processes: readonly ProcessView[]
  readonly sort: SortKey
  readonly reversed: boolean
  /** Closed processes and opened mappings, by their keys. */
  readonly toggled: ReadonlySet<string>
  /** The selected line by its key, and where it was should it vanish. */
  readonly selectedKey: string
  readonly selectedIndex: number
  /** The first line of the body that is on the screen. */
  readonly scroll: number
  readonly helpScroll: number
  readonly help: boolean
  readonly paused: boolean
  readonly intervalNs: number
  /** For the last line. */
  readonly message: string
}

export function initialState(pids: readonly number[], intervalNs: number, message = ''): TopState {
  return {
    processes: pids.map((pid) => ({ pid, name: '', sample: undefined, trend: [], trends: new Map(), note: '', gone: false })),
    sort: 'written', reversed: false, toggled: new Set(), selectedKey: pids.length === 0 ? '' : processKey(pids[0]!), selectedIndex: 0, scroll: 0,
    helpScroll: 0, help: false, paused: false, intervalNs, message,
  }
}

export function processKey(pid: number): string {
  return `process ${pid}`
}

/** A mapping stays itself while it grows at its end; the stack grows at its start. */
export function mappingKey(pid: number, { start, path }: MappingSample): string {
  return `mapping ${pid} ${path === '[stack]' ? path : start}`
}

/** The state after a look. */
export function seen(state: TopState, outcome: WatchOutcome): TopState {
  const pid = outcome.kind === 'sample' ? outcome.sample.pid : outcome.pid
  return { ...state, processes: state.processes.map((process) => (process.pid === pid ? after(process, outcome) : process)) }
}

function after(process: ProcessView, outcome: WatchOutcome): ProcessView {
  switch (outcome.kind) {
    case 'gone': return { ...process, gone: true }
    case 'executed': {
      const before = process.name === '' ? '' : `, was ${process.name}`
      return { ...process, name: outcome.name, sample: undefined, trend: [], trends: new Map(), note: `executed ${printable(outcome.name)}${before}; watched anew` }
    }
    case 'sample': {
      const { sample } = outcome
      const trends = new Map<string, readonly number[]>()
      for (const mapping of sample.mappings) {
        const key = mappingKey(sample.pid, mapping)
        trends.set(key, extended(process.trends.get(key), mapping.writtenPagesPerSecond))
      }
      return { ...process, name: sample.name, sample, trend: extended(process.trend, sample.writtenPagesPerSecond), trends, note: forkNote(sample) ?? process.note }
    }
  }
}

function extended(trend: readonly number[] = [], value: number): readonly number[] {
  return [...trend.slice(1 - TREND_LENGTH), value]
}

const NAMED_MAX = 4

function forkNote({ forkedPids = [] }: WatchSample): string | undefined {
  if (forkedPids.length === 0) return undefined
  const named = forkedPids.slice(0, NAMED_MAX).join(', ')
  const more = forkedPids.length > NAMED_MAX ? ` and ${forkedPids.length - NAMED_MAX} more` : ''
  return `forked ${named}${more}; what they write is not watched`
}
