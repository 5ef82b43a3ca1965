import { readFileSync, readdirSync } from 'node:fs'
import { trackBuffer, type GrowingMemory, type TrackableBuffer, type WrittenRanges } from 'tidemark'
import { addressOfBytes, pageBytes } from '#dist/linux/ffi.js'
import { wasmMemory } from './wasm.ts'

/** What ES2024 adds to the types. */
type Resizable = { readonly resizable: boolean; resize(length: number): void }
type Growable = { readonly growable: boolean; grow(length: number): void }
type MakeResizable = new (length: number, options: { readonly maxByteLength: number }) => ArrayBuffer & Resizable
type MakeGrowable = new (length: number, options: { readonly maxByteLength: number }) => SharedArrayBuffer & Growable

export interface BufferKind {
  readonly name: string
  readonly make: () => TrackableBuffer
  /** Makes it longer (or shorter, where it can be) by a number from 0 to 1. */
  readonly resize?: (buffer: TrackableBuffer, share: number) => void
}

const MAX = 3 << 20

function growWasm(buffer: TrackableBuffer): void {
  const memory = buffer as GrowingMemory
  if (memory.buffer.byteLength < MAX) memory.grow(1)
}

export const BUFFER_KINDS: readonly BufferKind[] = [
  { name: 'ArrayBuffer on the heap of malloc', make: () => new ArrayBuffer(70_000) },
  { name: 'ArrayBuffer', make: () => new ArrayBuffer((1 << 20) + 123) },
  { name: 'resizable ArrayBuffer', make: () => new (ArrayBuffer as unknown as MakeResizable)(100_000, { maxByteLength: MAX }),
    resize: (buffer, share) => (buffer as ArrayBuffer & Resizable).resize(Math.floor(share * 400_000)) },
  { name: 'SharedArrayBuffer', make: () => new SharedArrayBuffer(600_000) },
  { name: 'growable SharedArrayBuffer', make: () => new (SharedArrayBuffer as unknown as MakeGrowable)(100_000, { maxByteLength: MAX }),
    resize: (buffer, share) => (buffer as SharedArrayBuffer & Growable).grow(Math.min(MAX, lengthOf(buffer) + Math.floor(share * 40_000))) },
  { name: 'WebAssembly.Memory', make: () => wasmMemory({ initial: 4, maximum: 64 }), resize: growWasm },
  { name: 'shared WebAssembly.Memory', make: () => wasmMemory({ initial: 4, maximum: 64, shared: true }), resize: growWasm },
]

export function bytesIn(buffer: TrackableBuffer): Uint8Array {
  return new Uint8Array('grow' in buffer && 'buffer' in buffer ? buffer.buffer : buffer as ArrayBuffer)
}

export function lengthOf(buffer: TrackableBuffer): number {
  return bytesIn(buffer).length
}

export const PAGE_BYTES = pageBytes()

/** Which page of the address space, counted from the buffer's first, a byte is on. */
export function pageIn(bytes: Uint8Array, offset: number): number {
  return Math.floor((addressOfBytes(bytes) % PAGE_BYTES + offset) / PAGE_BYTES)
}

/** The pages that ranges touch. */
export function pagesOf(ranges: WrittenRanges, bytes: Uint8Array): Set<number> {
  const pages = new Set<number>()
  for (const { start, end } of ranges) for (let page = pageIn(bytes, start); page <= pageIn(bytes, end - 1); page++) pages.add(page)
  return pages
}

/** Without the pages at both ends that are not the buffer's alone: others write there at any time. */
export function ownPages(pages: ReadonlySet<number>, bytes: Uint8Array): number[] {
  const first = addressOfBytes(bytes) % PAGE_BYTES === 0 ? 0 : 1
  const end = pageIn(bytes, bytes.length)
  return [...pages].filter((page) => page >= first && page < end)
}

/** How many mappings of this process are registered with a userfaultfd for write-protection. */
export function registeredMappings(): number {
  return readFileSync('/proc/self/smaps', 'latin1').split('\n').filter((line) => line.startsWith('VmFlags:') && line.split(' ').includes('uw')).length
}

export function openFiles(): number {
  return readdirSync('/proc/self/fd').length
}

/** Why the kernel does not follow buffers here; false where it does. */
export function skipFollowing(): string | false {
  using tracked = trackBuffer(new ArrayBuffer(1 << 20))
  return tracked.compareReason ?? false
}
