import type { WatchSample } from '../index.ts'
import { span, type Span } from './styled-line.ts'
import { formatTable, type Colour } from './table.ts'
import { formatBytes, formatDuration } from './units.ts'

type Cost = NonNullable<WatchSample['predicted'][keyof WatchSample['predicted']]>

/** What a snapshot would cost by each strategy, the shortest pause first. */
export function byPause(predicted: WatchSample['predicted']): [name: string, Cost][] {
  return Object.entries(predicted).toSorted(([, a], [, b]) => a.pauseNs - b.pauseNs)
}

/** As a table with a line of titles; a strategy that would not come to an end stands out. */
export function forecastRows(predicted: WatchSample['predicted']): (readonly [text: string, colour: Colour | undefined])[] {
  const strategies = byPause(predicted)
  const lines = formatTable([
    ['', 'pause', 'total', 'extra memory', 'converges'],
    ...strategies.map(([name, { pauseNs, totalNs, extraMemoryBytes, converges }]) =>
      [name, formatDuration(pauseNs), formatDuration(totalNs), formatBytes(extraMemoryBytes), converges ? 'yes' : 'no']),
  ], ['left', 'right', 'right', 'right'])
  return lines.map((text, i) => [text, i === 0 ? 'dim' : strategies[i - 1]![1].converges ? undefined : 'yellow'])
}

/** In one line: the pauses alone. */
export function forecastFacts(predicted: WatchSample['predicted']): Span[] {
  const [first, ...others] = byPause(predicted)
  const fact = ([name, { pauseNs, converges }]: [string, Cost]): string => `${name} ${formatDuration(pauseNs)}${converges ? '' : ' (does not converge)'}`
  return first === undefined ? [] : [span(`pause: ${fact(first)}`), ...others.map((other) => span(fact(other)))]
}
