/**
 * Text in a core is whatever bytes the process used: mostly UTF-8, but a file name may be any bytes but NUL and '/',
 * and the kernel cuts names in the middle of a character. So bytes that are not UTF-8 become lone surrogates
 * U+DC80 to U+DCFF and back (Python's "surrogateescape", PEP 383): `encodeText(decodeText(bytes))` is `bytes`, always.
 *
 * Written by hand because TextEncoder is of the web's library, not of ECMAScript's, and replaces what it does not know.
 */

const ESCAPE = 0xdc00

export function decodeText(bytes: Uint8Array): string {
  let text = ''
  for (let at = 0; at < bytes.length;) {
    const length = characterBytes(bytes, at)
    if (length === 1) text += String.fromCharCode(bytes[at]!)
    else if (length === 0) text += String.fromCharCode(ESCAPE + bytes[at]!)
    else {
      let point = bytes[at]! & (0x7f >> length)
      for (let i = 1; i < length; i++) point = (point << 6) | (bytes[at + i]! & 0x3f)
      text += String.fromCodePoint(point)
    }
    at += Math.max(1, length)
  }
  return text
}

/** How long the UTF-8 character at `at` is, 0 when there is none: Unicode 15, table 3-7, "Well-Formed UTF-8 Byte Sequences". */
function characterBytes(bytes: Uint8Array, at: number): number {
  const first = bytes[at]!
  if (first < 0x80) return 1
  const length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0
  if (length === 0 || at + length > bytes.length) return 0
  const second = bytes[at + 1]!
  const lowest = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80
  const highest = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf
  if (second < lowest || second > highest) return 0
  for (let i = 2; i < length; i++) if ((bytes[at + i]! & 0xc0) !== 0x80) return 0
  return length
}

export function encodeText(text: string): Uint8Array {
  const bytes: number[] = []
  for (const character of text) {
    const point = character.codePointAt(0)!
    if (point < 0x80) bytes.push(point)
    else if (point < 0x800) bytes.push(0xc0 | (point >> 6), 0x80 | (point & 0x3f))
    else if (point >= ESCAPE + 0x80 && point <= ESCAPE + 0xff) bytes.push(point - ESCAPE)
    else if (point >= 0xd800 && point <= 0xdfff) bytes.push(0xef, 0xbf, 0xbd) // another lone surrogate: U+FFFD
    else if (point < 0x10000) bytes.push(0xe0 | (point >> 12), 0x80 | ((point >> 6) & 0x3f), 0x80 | (point & 0x3f))
    else bytes.push(0xf0 | (point >> 18), 0x80 | ((point >> 12) & 0x3f), 0x80 | ((point >> 6) & 0x3f), 0x80 | (point & 0x3f))
  }
  return Uint8Array.from(bytes)
}
