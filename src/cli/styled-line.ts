import type { Colour, painter } from './table.ts'
import { cellWidth, cutEnd, padCells, printable } from './text-width.ts'

export type Paint = ReturnType<typeof painter>

/** A piece of a line in one colour. */
export interface Span {
  readonly text: string
  readonly colour?: Colour
}

export function span(text: string, colour?: Colour): Span {
  return colour === undefined ? { text } : { text, colour }
}

/** One line of at most `width` cells. It is the one way to the screen, so that nothing unprintable comes by another. */
export function renderLine(spans: readonly Span[], width: number, paint: Paint): string {
  let line = ''
  let left = width
  for (const { text, colour } of spans) {
    if (left <= 0) break
    const shown = cutEnd(printable(text), left)
    left -= cellWidth(shown)
    line += colour === undefined || shown === '' ? shown : paint(colour, shown)
  }
  return line
}

/** The same in reverse video from edge to edge; its own colours would end it. */
export function renderSelected(spans: readonly Span[], width: number, paint: Paint): string {
  const plain = cutEnd(printable(spans.map(({ text }) => text).join('')), width)
  return paint('inverse', padCells(plain, width))
}

/** Facts in a row, as many from the first on as fit whole; the first is always there. */
export function renderFacts(facts: readonly Span[], width: number, indent: string): Span[] {
  const spans: Span[] = []
  let used = cellWidth(indent)
  for (const fact of facts) {
    const separator = spans.length === 0 ? indent : ' · '
    const needed = cellWidth(printable(fact.text)) + (spans.length === 0 ? 0 : cellWidth(separator))
    if (spans.length > 0 && used + needed > width) break
    spans.push(span(separator, 'dim'), fact)
    used += needed
  }
  return spans
}
