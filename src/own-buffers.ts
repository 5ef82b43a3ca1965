import { BufferTracking, type TrackedBuffer, type TrackBufferOptions } from './buffers/tracked-buffer.ts'
import type { TrackableBuffer } from './buffers/subject.ts'
import { openOwnMemory } from './linux/own-memory.ts'

let tracking: BufferTracking | undefined

/**
 * Follows the writes to a buffer of this process: by this thread and workers, WebAssembly, and the kernel (`fs.readSync` into it).
 * Synchronous, and in the calling thread.
 *
 * ```ts
 * using tracked = trackBuffer(memory)            // a WebAssembly.Memory, an ArrayBuffer or a SharedArrayBuffer
 * tracked.copyWritten(copy)                      // the first time everything
 * transact()
 * const { bytes } = tracked.copyWritten(copy)    // then what was written since
 * ```
 *
 * Whole pages are reported. Not seen: what an O_DIRECT read or a fixed io_uring buffer, under way as the mark is set, brings later.
 * Errors: {@link TidemarkError} 'usage'; 'unsupported' only when `tracker: 'wp-async'` is asked for.
 */
export function trackBuffer(buffer: TrackableBuffer, options: TrackBufferOptions = {}): TrackedBuffer {
  tracking ??= new BufferTracking(openOwnMemory())
  return tracking.track(buffer, options)
}
