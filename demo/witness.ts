/**
 * Memory that testifies of itself: whoever reads an image of it can tell whether all of it is of one instant.
 *
 * ```
 * stride 0      token token pages HEAD        HEAD  = number of the write that has begun
 * stride 1..N   n … n                         n     = number of the last write to this stride, at both its ends
 * stride N+1    token token pages TAIL        TAIL  = number of the last write that has ended
 * ```
 * Writes go through the strides in order and are numbered, so HEAD alone says what every stride must hold. An image
 * put together from several moments has a HEAD, strides and a TAIL that disagree.
 */
const STRIDES = 4096
const STRIDE_BYTES = 4096
const STRIDE_WORDS = STRIDE_BYTES / 8
/** Token 16 bytes, number of strides 8, HEAD or TAIL 8: as words of a Float64Array, whose integers are exact to 2^53. */
const COUNT_WORD = 2
const NUMBER_WORD = 3
const TAIL_WORD = (STRIDES + 1) * STRIDE_WORDS

export const TOKEN_BYTES = 16
export const WITNESS_BYTES = (STRIDES + 2) * STRIDE_BYTES

export type Testimony =
  | { readonly kind: 'one-instant'; readonly writes: number }
  | { readonly kind: 'torn'; readonly problem: string }
  /** The token is there, but it begins no witness: a copy of the token on its way through the program. */
  | { readonly kind: 'no-witness' }

/** The target's side. */
export class Witness {
  readonly #words = new Float64Array(WITNESS_BYTES / 8)
  #writes = 0

  constructor(token: Uint8Array) {
    const bytes = new Uint8Array(this.#words.buffer)
    bytes.set(token)
    bytes.set(token, TAIL_WORD * 8)
    this.#words[COUNT_WORD] = this.#words[TAIL_WORD + COUNT_WORD] = STRIDES
    for (let i = 0; i < STRIDES; i++) this.write()
  }

  /** The order of the four stores is what {@link examine} relies on. */
  write(): void {
    const words = this.#words
    const number = this.#writes + 1
    const at = ((number - 1) % STRIDES + 1) * STRIDE_WORDS
    words[NUMBER_WORD] = number
    words[at] = number
    words[at + STRIDE_WORDS - 1] = number
    words[TAIL_WORD + NUMBER_WORD] = number
    this.#writes = number
  }

  examine(): Testimony {
    return examine(this.#words)
  }
}

/** The reader's side. `bytes` begins with the token. */
export function examineImage(bytes: Uint8Array, token: Uint8Array): Testimony {
  if (bytes.length < WITNESS_BYTES) return { kind: 'no-witness' }
  for (let i = 0; i < TOKEN_BYTES; i++) if (bytes[i] !== token[i] || bytes[TAIL_WORD * 8 + i] !== token[i]) return { kind: 'no-witness' }
  // A Float64Array needs an aligned beginning, which a piece of a file need not have.
  return examine(new Float64Array(bytes.slice(0, WITNESS_BYTES).buffer))
}

function examine(words: Float64Array): Testimony {
  if (words[COUNT_WORD] !== STRIDES || words[TAIL_WORD + COUNT_WORD] !== STRIDES) return { kind: 'no-witness' }
  const head = words[NUMBER_WORD]!
  const tail = words[TAIL_WORD + NUMBER_WORD]!
  if (head !== tail && head !== tail + 1) return { kind: 'torn', problem: `write ${head} had begun and ${tail} had ended` }
  for (let stride = 0; stride < STRIDES; stride++) {
    const number = head - (head - 1 - stride) % STRIDES
    const first = words[(stride + 1) * STRIDE_WORDS]!
    const last = words[(stride + 2) * STRIDE_WORDS - 1]!
    if (!holds(first, last, number, number === head && head !== tail)) {
      return { kind: 'torn', problem: `page ${stride} holds writes ${first} and ${last} at its ends, not ${number}` }
    }
  }
  return { kind: 'one-instant', writes: tail }
}

/** The stride of a write that has begun and not ended may be as before, half done or done; never the last half alone. */
function holds(first: number, last: number, number: number, writing: boolean): boolean {
  if (first === number && last === number) return true
  return writing && last === number - STRIDES && (first === number || first === number - STRIDES)
}
