/** Text in cells of a terminal: what paths and names of processes need before they may be printed. */
import stringWidth from 'string-width'

const PLAIN = /^[\x20-\x7e]*$/
/** Control and format characters could move the cursor, colour the screen or reverse the text: names and paths are the target's choice. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu
const graphemes = new Intl.Segmenter()

/** The text with everything replaced that is no visible character. */
export function printable(text: string): string {
  return PLAIN.test(text) ? text : text.replace(UNPRINTABLE, '\ufffd')
}

/** How many cells of a terminal the text takes: two for wide characters, none for combining ones. */
export function cellWidth(text: string): number {
  return PLAIN.test(text) ? text.length : stringWidth(text)
}

/** The text itself, or as much of its start as leaves room for the sign that there was more. At most `width` cells. */
export function cutEnd(text: string, width: number): string {
  if (cellWidth(text) <= width) return text
  return width < 1 ? '' : `${takeCells(split(text), width - 1)}…`
}

/** The text itself, or its start and its end: of a path, both tell more than the middle. At most `width` cells. */
export function cutMiddle(text: string, width: number): string {
  if (cellWidth(text) <= width) return text
  if (width < 5) return cutEnd(text, width)
  const pieces = split(text)
  const end = takeCells(pieces.toReversed(), Math.ceil((width - 1) * 0.6), 'prepend')
  return `${takeCells(pieces, width - 1 - cellWidth(end))}…${end}`
}

/** Exactly `width` cells, where the text has no more than those. */
export function padCells(text: string, width: number, align: 'left' | 'right' = 'left'): string {
  const padding = ' '.repeat(Math.max(0, width - cellWidth(text)))
  return align === 'right' ? padding + text : text + padding
}

function split(text: string): string[] {
  return PLAIN.test(text) ? [...text] : Array.from(graphemes.segment(text), ({ segment }) => segment)
}

function takeCells(pieces: readonly string[], width: number, how: 'append' | 'prepend' = 'append'): string {
  let taken = ''
  let left = width
  for (const piece of pieces) {
    left -= cellWidth(piece)
    if (left < 0) break
    taken = how === 'append' ? taken + piece : piece + taken
  }
  return taken
}
