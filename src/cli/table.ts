/** Tables and colours for people, in plain columns. */

export type Align = 'left' | 'right'
export type Colour = 'bold' | 'dim' | 'inverse' | 'red' | 'green' | 'yellow' | 'blue' | 'cyan'

const CODES: Readonly<Record<Colour, number>> = { bold: 1, dim: 2, inverse: 7, red: 31, green: 32, yellow: 33, blue: 34, cyan: 36 }
const ESCAPES = /\x1b\[[\d;]*m/g
const GAP = '  '

/** Colours text where it goes to a terminal and nobody has objected (no-color.org), else leaves it alone. */
export function painter(stream: { readonly isTTY?: boolean }, environment: NodeJS.ProcessEnv = process.env): (colour: Colour, text: string) => string {
  const on = stream.isTTY === true && !environment['NO_COLOR'] && environment['TERM'] !== 'dumb'
  return (colour, text) => (on ? `\x1b[${CODES[colour]}m${text}\x1b[0m` : text)
}

/** Lines of columns as wide as their widest cell; colours count for nothing. The last column is never padded. */
export function formatTable(rows: readonly (readonly string[])[], align: readonly Align[] = []): string[] {
  const widths: number[] = []
  for (const row of rows) row.forEach((cell, i) => { widths[i] = Math.max(widths[i] ?? 0, visibleWidth(cell)) })
  return rows.map((row) => row.map((cell, i) => {
    const padding = ' '.repeat(widths[i]! - visibleWidth(cell))
    return align[i] === 'right' ? padding + cell : cell + padding
  }).join(GAP).trimEnd())
}

export function visibleWidth(text: string): number {
  return [...text.replace(ESCAPES, '')].length
}

/** Breaks text at spaces into lines of at most `width`, each after `indent`. A longer word stays whole. */
export function wrapText(text: string, width: number, indent: string): string[] {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const last = lines.at(-1)
    if (last !== undefined && visibleWidth(`${last} ${word}`) <= width) lines[lines.length - 1] = `${last} ${word}`
    else lines.push(indent + word)
  }
  return lines
}
