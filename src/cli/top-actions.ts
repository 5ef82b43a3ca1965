import type { TopAction, SortKey } from './top-keys.ts'
import type { BodyLine } from './top-body.ts'
import { selectedIndexOf } from './top-screen.ts'
import type { TopState } from './top-state.ts'

const SORTS: readonly SortKey[] = ['written', 'resident', 'set', 'address', 'path']
const INTERVALS_NS = [50e6, 100e6, 200e6, 500e6, 1e9, 2e9, 5e9, 10e9, 30e9, 60e9, 300e9, 600e9, 1800e9, 3600e9] as const

/** The state after a key. `lines` and `bodyRows` are those of the frame that the key was pressed at. */
export function pressed(state: TopState, action: TopAction, lines: readonly BodyLine[], bodyRows: number): TopState {
  switch (action.kind) {
    case 'move': return state.help ? { ...state, helpScroll: Math.max(0, state.helpScroll + action.lines) } : moved(state, action.lines, lines)
    case 'page': return moved(state, action.pages * Math.max(1, bodyRows - 1), lines)
    case 'edge': return moved(state, action.to === 'first' ? -lines.length : lines.length, lines)
    case 'fold': return folded(state, action.to, lines)
    case 'sort': return sorted(state, action.by)
    case 'pause': return { ...state, paused: !state.paused }
    case 'interval': return { ...state, intervalNs: stepped(state.intervalNs, action.to) }
    case 'help': return { ...state, help: !state.help, helpScroll: 0 }
    case 'back': return { ...state, help: false, message: '' }
    case 'redraw': case 'suspend': case 'quit': return state
  }
}

/** To the selectable line nearest to `by` lines from here; past an end, the last one. */
function moved(state: TopState, by: number, lines: readonly BodyLine[]): TopState {
  const from = selectedIndexOf(state, lines)
  if (from < 0) return state
  const step = Math.sign(by)
  const wanted = Math.max(0, Math.min(lines.length - 1, from + by))
  const selectable = (at: number): boolean => lines[at]?.key !== undefined
  let to = wanted
  while (to >= 0 && to < lines.length && !selectable(to)) to += step
  if (!selectable(to)) for (to = wanted; to !== from && !selectable(to);) to -= step
  return { ...state, selectedKey: lines[to]!.key!, selectedIndex: to }
}

function folded(state: TopState, to: 'open' | 'closed' | 'other', lines: readonly BodyLine[]): TopState {
  const at = selectedIndexOf(state, lines)
  const key = lines[at]?.folds
  if (key === undefined) return state
  // A process is open and a mapping closed until somebody says otherwise.
  const openNow = key.startsWith('process') !== state.toggled.has(key)
  if (to === (openNow ? 'open' : 'closed')) return state
  const toggled = new Set(state.toggled)
  if (!toggled.delete(key)) toggled.add(key)
  return { ...state, toggled, selectedKey: key, selectedIndex: lines.findIndex((line) => line.key === key) }
}

function sorted(state: TopState, by: SortKey | 'next' | 'reversed'): TopState {
  if (by === 'reversed') return { ...state, reversed: !state.reversed }
  if (by === 'next') return { ...state, sort: SORTS[(SORTS.indexOf(state.sort) + 1) % SORTS.length]!, reversed: false }
  return { ...state, sort: by, reversed: false }
}

function stepped(intervalNs: number, to: 'longer' | 'shorter'): number {
  return (to === 'longer' ? INTERVALS_NS.find((ns) => ns > intervalNs) : INTERVALS_NS.findLast((ns) => ns < intervalNs)) ?? intervalNs
}
