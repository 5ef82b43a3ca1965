/** A worker that writes a SharedArrayBuffer as fast as it can, until the first word of `control` is 1. The second counts its writes. */
import { workerData } from 'node:worker_threads'

const { buffer, control, seed } = workerData as { readonly buffer: SharedArrayBuffer; readonly control: Int32Array; readonly seed: number }
const words = new Int32Array(buffer)
let state = seed | 1
while (Atomics.load(control, 0) === 0) {
  state ^= state << 13
  state ^= state >>> 17
  state ^= state << 5
  Atomics.add(words, (state >>> 0) % words.length, 1)
  Atomics.add(control, 1, 1)
}
