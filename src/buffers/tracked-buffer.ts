/**
 * buffers/ follows the writes to a buffer of this very process, synchronously and in the caller's thread: which of its pages
 * were written since the mark? It stops nothing, and hears of writes by whoever shares the memory: workers, WebAssembly, the kernel.
 */
import { assert, TidemarkError } from '../kernel/errors.ts'
import type { OwnMemory } from '../kernel/own-memory.ts'
import { CompareMarks } from './compare.ts'
import type { Marks } from './marks.ts'
import { SharedMarks } from './shared-marks.ts'
import { bytesOf, isBuffer, isGrowingMemory, requireTrackable, type TrackableBuffer } from './subject.ts'
import { WpAsyncMarks } from './wp-async.ts'
import type { WrittenRanges } from './written-ranges.ts'

export interface TrackBufferOptions {
  /**
   * 'auto' (default): 'wp-async' where the kernel can follow the buffer and it has 16 pages or can grow, else 'compare'.
   * 'wp-async': that or an error 'unsupported'. 'compare': a copy of the contents is kept and compared with.
   */
  readonly tracker?: 'auto' | 'wp-async' | 'compare'
}

/** What a smaller buffer shares with its neighbours on its first and last page outweighs it, and comparing it takes no time. */
const FIXED_PAGES_MIN = 16

/** What is to be ended with a TrackedBuffer. Refers to neither it nor its buffer, so that both can be collected. */
interface Held {
  marks: Marks | undefined
}

/**
 * A buffer whose writes are followed; {@link trackBuffer} makes one. It keeps the buffer alive, and tracking ends with
 * `using`, with {@link end}, or when this object is collected.
 */
export class TrackedBuffer implements Disposable {
  readonly buffer: TrackableBuffer
  readonly #held: Held
  readonly #fallBack: ((why: string) => Marks) | undefined
  #compareReason: string | undefined
  #ended: TidemarkError | undefined

  /** @internal */
  constructor(buffer: TrackableBuffer, held: Held, compareReason: string | undefined, fallBack: ((why: string) => Marks) | undefined) {
    this.buffer = buffer
    this.#held = held
    this.#compareReason = compareReason
    this.#fallBack = fallBack
  }

  /** How writes are found out. May become 'compare' when a buffer that grows cannot be followed further. */
  get tracker(): 'wp-async' | 'compare' {
    return this.#held.marks?.tracker ?? (this.#compareReason === undefined ? 'wp-async' : 'compare')
  }

  /** Why the tracker is 'compare'; `undefined` where it is not. */
  get compareReason(): string | undefined {
    return this.#compareReason
  }

  /** Sets the mark: from now on everything counts as unwritten. */
  mark(): void {
    const { marks, bytes } = this.#now()
    marks.mark(bytes)
  }

  /** What was written since the mark, all of it before the first, and what has been added to the buffer. Only looks. */
  written(): WrittenRanges {
    const { marks, bytes } = this.#now()
    return marks.written(bytes)
  }

  /**
   * Copies what was written since the mark to the same place of `into`, and sets the mark there, page by page in one step: a write
   * that comes meanwhile, from a worker, is copied now or reported the next time, and maybe both. Returns what was copied.
   * Errors: 'usage' when `into` is not of the buffer's present length; nothing was copied then and the marks are as before.
   */
  copyWritten(into: Uint8Array | ArrayBuffer | SharedArrayBuffer): WrittenRanges {
    const { marks, bytes } = this.#now()
    return marks.copyWritten(bytes, this.#target(into, bytes))
  }

  #target(into: unknown, bytes: Uint8Array): Uint8Array {
    if (!(into instanceof Uint8Array) && !isBuffer(into)) throw new TidemarkError('usage', 'the copy goes into a Uint8Array, an ArrayBuffer or a SharedArrayBuffer')
    const target = into instanceof Uint8Array ? into : bytesOf(into)
    if (target.length !== bytes.length) {
      throw new TidemarkError('usage', `the copy has ${target.length} bytes and the buffer ${bytes.length}`, { hint: 'give it a copy of the buffer\'s present length; one that has grown needs a longer one' })
    }
    if (target.buffer === bytes.buffer && target.length > 0) throw new TidemarkError('usage', 'the copy is the buffer itself')
    return target
  }

  #now(): { readonly marks: Marks; readonly bytes: Uint8Array } {
    if (this.#ended !== undefined) throw this.#ended
    const bytes = this.#bytes()
    assert(this.#held.marks !== undefined, 'marks last until the end')
    const why = this.#held.marks.follow(bytes)
    if (why === undefined) return { marks: this.#held.marks, bytes }
    if (this.#fallBack === undefined) {
      this.#end(new TidemarkError('unsupported', `the buffer has changed and cannot be followed any more: ${why}`, { hint: 'track it anew, or without asking for wp-async' }))
      throw this.#ended
    }
    this.#held.marks[Symbol.dispose]()
    this.#held.marks = this.#fallBack(why)
    this.#compareReason = why
    return { marks: this.#held.marks, bytes }
  }

  #bytes(): Uint8Array {
    try {
      return bytesOf(this.buffer)
    } catch (error) {
      if (error instanceof TidemarkError) this.#end(error)
      throw error
    }
  }

  #end(why: TidemarkError): void {
    this.#ended ??= why
    this.#held.marks?.[Symbol.dispose]()
    this.#held.marks = undefined
  }

  /** Ends the tracking. The buffer is as before; a second time does nothing. */
  end(): void {
    this.#end(new TidemarkError('usage', 'the tracking of this buffer has ended'))
  }

  [Symbol.dispose](): void {
    this.end()
  }
}

/** All tracking of one thread. */
export class BufferTracking {
  readonly #memory: OwnMemory
  readonly #shared: SharedMarks
  readonly #collected = new FinalizationRegistry<Held>((held) => held.marks?.[Symbol.dispose]())

  constructor(memory: OwnMemory) {
    this.#memory = memory
    this.#shared = new SharedMarks(memory)
  }

  /** Errors: 'usage' for what cannot be tracked, 'unsupported' when 'wp-async' is asked for and cannot be had. */
  track(buffer: TrackableBuffer, { tracker = 'auto' }: TrackBufferOptions): TrackedBuffer {
    requireTrackable(buffer)
    if (!['auto', 'wp-async', 'compare'].includes(tracker)) throw new TidemarkError('usage', `there is no tracker ${String(tracker)}`, { hint: 'auto, wp-async or compare' })
    const bytes = bytesOf(buffer)
    const tried = this.#reasonToCompare(buffer, bytes, tracker) ?? WpAsyncMarks.create(this.#memory, this.#shared, bytes)
    if (typeof tried === 'string' && tracker === 'wp-async') {
      throw new TidemarkError('unsupported', `the kernel cannot follow this buffer: ${tried}`, { hint: 'without the option it is compared with a copy; `tidemark check` tells what the kernel can do' })
    }
    const compare = (): Marks => new CompareMarks(this.#memory)
    const held: Held = { marks: typeof tried === 'string' ? compare() : tried }
    const tracked = new TrackedBuffer(buffer, held, typeof tried === 'string' ? tried : undefined, tracker === 'wp-async' ? undefined : compare)
    this.#collected.register(tracked, held)
    return tracked
  }

  #reasonToCompare(buffer: TrackableBuffer, bytes: Uint8Array, tracker: TrackBufferOptions['tracker']): string | undefined {
    if (tracker === 'compare') return 'it was asked for'
    const least = FIXED_PAGES_MIN * 2 ** this.#memory.pageShift
    return tracker === 'auto' && bytes.length < least && !canGrow(buffer) ? `it has less than ${least} bytes` : undefined
  }
}

function canGrow(buffer: TrackableBuffer): boolean {
  const { resizable, growable } = buffer as { readonly resizable?: boolean; readonly growable?: boolean }
  return resizable === true || growable === true || isGrowingMemory(buffer)
}
