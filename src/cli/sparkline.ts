/** Numbers as characters: how something went, and where it is hot. */
import { span, type Span } from './styled-line.ts'
import type { Colour } from './table.ts'

const BARS = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'] as const

/**
 * The last `width` values, newest at the right, as bars under the greatest of them. What is not zero has a bar;
 * before the first value there is blank.
 */
export function sparkline(values: readonly number[], width: number): string {
  const shown = width > 0 ? values.slice(-width) : []
  const most = Math.max(0, ...shown)
  const bars = shown.map((value) => (value > 0 ? BARS[Math.min(7, Math.floor((value / most) * 7.999))] ?? '█' : ' '))
  return ' '.repeat(Math.max(0, width - shown.length)) + bars.join('')
}

/** From which share of a cell's pages on it looks how; written at all is never blank. */
const HEATS: readonly (readonly [from: number, shade: string, colour: Colour])[] = [
  [0.5, '█', 'red'], [0.1, '▓', 'yellow'], [0.01, '▒', 'green'], [0, '░', 'blue'],
]
const COLD = span('·', 'dim')

/** Written pages by cell as one strip of `width` cells: several in one where there is no room, and wider ones where there is. */
export function heatStrip(heat: readonly number[], cellPages: number, width: number): Span[] {
  if (heat.length === 0) return []
  const spans: Span[] = []
  for (let x = 0; x < width; x++) {
    const from = Math.floor((x * heat.length) / width)
    const to = Math.max(from + 1, Math.floor(((x + 1) * heat.length) / width))
    const written = heat.slice(from, to).reduce((sum, pages) => sum + pages, 0)
    spans.push(shadeOf(written, (to - from) * Math.max(1, cellPages)))
  }
  return merged(spans)
}

function shadeOf(written: number, pages: number): Span {
  if (!(written > 0)) return COLD
  const [, shade, colour] = HEATS.find(([from]) => written / pages >= from) ?? HEATS.at(-1)!
  return span(shade, colour)
}

/** Neighbours of one colour as one span: fewer escape codes. */
function merged(spans: readonly Span[]): Span[] {
  const result: Span[] = []
  for (const { text, colour } of spans) {
    const last = result.at(-1)
    if (last !== undefined && last.colour === colour) result[result.length - 1] = span(last.text + text, colour)
    else result.push(span(text, colour))
  }
  return result
}
