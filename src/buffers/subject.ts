import { TidemarkError } from '../kernel/errors.ts'

/** What a WebAssembly.Memory is to us: its buffer is another one after it has grown. */
export interface GrowingMemory {
  readonly buffer: ArrayBuffer | SharedArrayBuffer
  grow(pages: number): number
}

export type TrackableBuffer = ArrayBuffer | SharedArrayBuffer | GrowingMemory

const lengthOfBuffer = Object.getOwnPropertyDescriptor(ArrayBuffer.prototype, 'byteLength')!.get!
const lengthOfShared = Object.getOwnPropertyDescriptor(SharedArrayBuffer.prototype, 'byteLength')!.get!

/** The getters recognise buffers of other realms, and nothing that only looks like one. */
export function isBuffer(value: unknown): value is ArrayBuffer | SharedArrayBuffer {
  return answers(lengthOfBuffer, value) || answers(lengthOfShared, value)
}

function answers(getter: () => unknown, value: unknown): boolean {
  try {
    getter.call(value)
    return true
  } catch {
    return false
  }
}

export function isGrowingMemory(value: unknown): value is GrowingMemory {
  return Object.prototype.toString.call(value) === '[object WebAssembly.Memory]' && isBuffer((value as GrowingMemory).buffer)
}

/** Throws 'usage' unless the value can be tracked. */
export function requireTrackable(value: unknown): asserts value is TrackableBuffer {
  if (isBuffer(value) || isGrowingMemory(value)) return
  const hint = ArrayBuffer.isView(value) ? 'pass its .buffer; what is reported are bytes of that' : undefined
  throw new TidemarkError('usage', `only an ArrayBuffer, a SharedArrayBuffer or a WebAssembly.Memory can be tracked, not ${nameOf(value)}`, hint === undefined ? {} : { hint })
}

function nameOf(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value)
  return `a ${Object.prototype.toString.call(value).slice('[object '.length, -1)}`
}

/** All bytes as they are now. Throws 'usage' when the buffer was transferred or, of a WebAssembly.Memory, outgrown. */
export function bytesOf(subject: TrackableBuffer): Uint8Array {
  try {
    const buffer = isBuffer(subject) ? subject : subject.buffer
    return new Uint8Array(buffer, 0, buffer.byteLength) // Of this length, although another thread may make it grow.
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause
    throw new TidemarkError('usage', 'the buffer is detached: its memory was transferred, or it is of a WebAssembly.Memory that has grown', {
      cause, hint: 'track the buffer that it became; of a WebAssembly.Memory, track the Memory itself',
    })
  }
}
