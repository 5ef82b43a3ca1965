import type { ImageUnderTest } from './checked-image.ts'
import { mix } from './checked-image.ts'

/** The registers of wavefront's loop, by the names of wavefront-loop.h. */
export interface WaveRegisters {
  readonly page: bigint
  readonly wave: bigint
  readonly struct: bigint
  readonly base: bigint
  readonly pages: bigint
  readonly tag: bigint
  readonly pc: bigint
}

/** Indexes into pr_reg: user_regs_struct on x86-64, user_pt_regs on arm64. */
const PLACES = {
  x64: { bytes: 27 * 8, page: 3, wave: 2, struct: 1, base: 0, pages: 4, tag: 5, pc: 16 },
  arm64: { bytes: 34 * 8, page: 20, wave: 21, struct: 22, base: 19, pages: 23, tag: 24, pc: 32 },
} as const

/** pr_reg begins here in struct elf_prstatus, on both machines. */
const PR_REG_OFFSET = 112

export type Machine = keyof typeof PLACES

export function machineOf(image: ImageUnderTest): Machine {
  const machine = image.machine ?? process.arch
  if (machine !== 'x64' && machine !== 'arm64') throw new Error(`no checker for ${machine}`)
  return machine
}

/** Takes a whole NT_PRSTATUS, or only its registers. */
export function decodeWaveRegisters(bytes: Uint8Array, machine: Machine): WaveRegisters {
  const places = PLACES[machine]
  const offset = bytes.length >= PR_REG_OFFSET + places.bytes ? PR_REG_OFFSET : 0
  if (bytes.length < places.bytes) throw new Error(`${bytes.length} bytes are not the registers of ${machine}`)
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, places.bytes)
  const get = (place: number) => view.getBigUint64(place * 8, true)
  return {
    page: get(places.page),
    wave: get(places.wave),
    struct: get(places.struct),
    base: get(places.base),
    pages: get(places.pages),
    tag: get(places.tag),
    pc: get(places.pc),
  }
}

/** Registers 6, 7, 8 and 15 hold constants made of the thread's tag: 16 bytes each, 32 with AVX. */
const VECTORS = [6, 7, 8, 15] as const
const XSAVE = { xmm: 160, mxcsr: 24, features: 512, ymmHigh: 576, bytes: 832, avx: 4n }

/** What is wrong with the vector registers of a thread in its loop. */
export function vectorProblems(bytes: Uint8Array, machine: Machine, tag: bigint, avx: boolean): string[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const problems: string[] = []
  const expect = (name: string, at: number, index: number) => {
    const wanted = mix(tag + BigInt(index))
    const found = at + 8 <= bytes.length ? view.getBigUint64(at, true) : undefined
    if (found !== wanted) problems.push(`${name} holds ${found?.toString(16)} and not ${wanted.toString(16)}`)
  }
  VECTORS.forEach((register, i) => {
    const low = (machine === 'x64' ? XSAVE.xmm : 0) + register * 16
    const name = machine === 'x64' ? `xmm${register}` : `v${register}`
    expect(`${name} low`, low, i * 4)
    expect(`${name} high`, low + 8, i * 4 + 1)
    if (machine !== 'x64' || !avx || bytes.length < XSAVE.bytes) return
    expect(`ymm${register} third quarter`, XSAVE.ymmHigh + register * 16, i * 4 + 2)
    expect(`ymm${register} last quarter`, XSAVE.ymmHigh + register * 16 + 8, i * 4 + 3)
  })
  if (machine === 'x64') {
    // The loop rounds towards zero, which no program does by default.
    if ((view.getUint32(XSAVE.mxcsr, true) & 0x6000) !== 0x6000) problems.push('mxcsr does not round towards zero')
    const features = bytes.length >= XSAVE.bytes ? view.getBigUint64(XSAVE.features, true) : XSAVE.avx
    if (avx && (features & XSAVE.avx) === 0n) problems.push('the XSAVE area says that AVX is in its initial state')
  }
  return problems
}
