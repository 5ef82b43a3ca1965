/** A WebAssembly program of one function, written out in bytes so that no compiler is needed. */
import type { GrowingMemory } from 'tidemark'

interface MemoryDescription {
  readonly initial: number
  readonly maximum: number
  readonly shared?: boolean
}

/** What the tests need of a global that is typed only for browsers. */
declare const WebAssembly: {
  readonly Memory: new (description: MemoryDescription) => GrowingMemory
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (module: object, imports: object) => { readonly exports: { readonly store: (at: number, value: number) => void } }
}

export const WASM_PAGE_BYTES = 65536

export function wasmMemory(description: MemoryDescription): GrowingMemory {
  return new WebAssembly.Memory(description)
}

const PROGRAM = Uint8Array.of(
  0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00,
  0x01, 0x06, 0x01, 0x60, 0x02, 0x7f, 0x7f, 0x00, // a type: (i32, i32) -> ()
  0x02, 0x08, 0x01, 0x01, 0x65, 0x01, 0x6d, 0x02, 0x00, 0x00, // memory "m" of "e"
  0x03, 0x02, 0x01, 0x00,
  0x07, 0x09, 0x01, 0x05, 0x73, 0x74, 0x6f, 0x72, 0x65, 0x00, 0x00, // "store"
  0x0a, 0x0b, 0x01, 0x09, 0x00, 0x20, 0x00, 0x20, 0x01, 0x3a, 0x00, 0x00, 0x0b, // i32.store8
)

/** A function in WebAssembly that stores a byte. Not for shared memory. */
export function wasmStore(memory: GrowingMemory): (at: number, value: number) => void {
  return new WebAssembly.Instance(new WebAssembly.Module(PROGRAM), { e: { m: memory } }).exports.store
}
