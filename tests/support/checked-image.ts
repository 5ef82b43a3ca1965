/**
 * What the checkers are given: memory and registers of one process, from an ELF core, from a
 * snapshot, or (to see a checker fail) from the memory of a process that runs.
 */
export interface ImageUnderTest {
  /** Throws where the image has no such memory; the checker says so as a problem. */
  read(address: bigint, length: number): Uint8Array
  /** NT_PRSTATUS by thread, whole or only its pr_reg. Left out, only the memory is checked. */
  readonly registers?: ReadonlyMap<number, Uint8Array>
  /** NT_FPREGSET by thread, or an x86 XSAVE area (NT_X86_XSTATE, standard format), whose AVX halves are then checked too. */
  readonly vectorRegisters?: ReadonlyMap<number, Uint8Array>
  /** The machine of the image; ours if left out. */
  readonly machine?: 'x64' | 'arm64'
  /** What to do with blocks under PROT_NONE; checked if left out. */
  readonly noAccess?: 'check' | 'skip'
}

export interface CheckResult {
  /** Empty means: not torn. */
  readonly problems: readonly string[]
  /** How much was looked at, so that a test can demand that it was not nothing. */
  readonly checked: {
    readonly pages: number
    /** Threads whose registers were in their loop and had to agree with memory. */
    readonly exactThreads: number
    readonly stableBlocks: number
    readonly movingBlocks: number
  }
}

const CHUNK_BYTES = 1 << 20

/** Collects what a checker finds. More than `PROBLEMS_MAX` of a torn image say nothing new. */
export class Findings {
  static readonly PROBLEMS_MAX = 50
  readonly problems: string[] = []
  pages = 0
  exactThreads = 0
  stableBlocks = 0
  movingBlocks = 0
  readonly #image: ImageUnderTest

  constructor(image: ImageUnderTest) {
    this.#image = image
  }

  problem(text: string): void {
    if (this.problems.length < Findings.PROBLEMS_MAX) this.problems.push(text)
  }

  get result(): CheckResult {
    const { problems, pages, exactThreads, stableBlocks, movingBlocks } = this
    return { problems, checked: { pages, exactThreads, stableBlocks, movingBlocks } }
  }

  /** Undefined, and a problem, where the image has no such memory or less than was asked for. */
  view(address: bigint, length: number, what: string): DataView | undefined {
    try {
      const bytes = this.#image.read(address, length)
      if (bytes.length === length) return new DataView(bytes.buffer, bytes.byteOffset, length)
      this.problem(`${what}: the image gave ${bytes.length} of ${length} bytes at ${hex(address)}`)
    } catch (error) {
      this.problem(`${what}: the image has no ${length} bytes at ${hex(address)}: ${String(error)}`)
    }
    return undefined
  }

  word(address: bigint, what: string): bigint | undefined {
    return this.view(address, 8, what)?.getBigUint64(0, true)
  }

  /** Calls `visit` for each page with a view of a run of pages and the page's offset in it. Stops at a hole. */
  eachPage(start: bigint, pages: number, pageBytes: number, what: string, visit: (page: number, view: DataView, at: number) => void): void {
    const run = Math.max(1, Math.floor(CHUNK_BYTES / pageBytes))
    for (let first = 0; first < pages; first += run) {
      const count = Math.min(run, pages - first)
      const view = this.view(start + BigInt(first) * BigInt(pageBytes), count * pageBytes, what)
      if (view === undefined) return
      for (let i = 0; i < count; i++) visit(first + i, view, i * pageBytes)
      this.pages += count
    }
  }
}

export function hex(address: bigint): string {
  return `0x${address.toString(16).padStart(16, '0')}`
}

const ALL = 0xffff_ffff_ffff_ffffn

/** splitmix64, as `mix` in guest.h. */
export function mix(value: bigint): bigint {
  let mixed = (value + 0x9e3779b97f4a7c15n) & ALL
  mixed = ((mixed ^ (mixed >> 30n)) * 0xbf58476d1ce4e5b9n) & ALL
  mixed = ((mixed ^ (mixed >> 27n)) * 0x94d049bb133111ebn) & ALL
  return mixed ^ (mixed >> 31n)
}
