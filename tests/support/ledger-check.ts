import type { BlockInfo, LedgerInfo } from './guest-info.ts'
import { type Findings, hex, type ImageUnderTest } from './checked-image.ts'

/** As FIRST_WORD_OFFSET and LAST_WORD_OFFSET in guest.h. */
const FIRST_WORD = 64
const LAST_WORD_FROM_END = 64

const FREE = 0n
const STABLE = 1n
const MOVING = 2n
const NO_ACCESS = 1n

interface Block {
  readonly what: string
  readonly start: bigint
  readonly pages: number
  readonly generation: bigint
}

/** The ledger of an image says what the image's other memory holds; see ledger.h. */
export function checkLedger(info: LedgerInfo, pageBytes: number, image: ImageUnderTest, findings: Findings): void {
  const start = BigInt(info.start)
  const view = findings.view(start, info.entries * info.entryBytes, 'the ledger')
  if (view === undefined) return
  for (let i = 0; i < info.entries; i++) {
    const field = (index: number) => view.getBigUint64(i * info.entryBytes + index * 8, true)
    const state = field(0)
    if (state === FREE) continue
    if (state === MOVING) {
      findings.movingBlocks++
      continue
    }
    if (state !== STABLE) {
      findings.problem(`ledger entry ${i} has the state ${state}`)
      continue
    }
    findings.stableBlocks++
    if (field(4) === NO_ACCESS && image.noAccess === 'skip') continue
    const block = { what: `ledger entry ${i}`, start: field(1), pages: Number(field(2)), generation: field(3) }
    checkBlock(block, pageBytes, findings)
  }
  if (findings.stableBlocks === 0) findings.problem('no entry of the ledger is stable')
}

/** Blocks that never change. */
export function checkBlocks(blocks: readonly BlockInfo[], pageBytes: number, image: ImageUnderTest, findings: Findings): void {
  for (const { name, start, pages, generation, noAccess } of blocks) {
    if (noAccess === true && image.noAccess === 'skip') continue
    findings.stableBlocks++
    checkBlock({ what: name, start: BigInt(start), pages, generation: BigInt(generation) }, pageBytes, findings)
  }
}

export function checkBlock({ what, start, pages, generation }: Block, pageBytes: number, findings: Findings): void {
  const where = `${what} (${pages} pages at ${hex(start)}, generation ${generation})`
  findings.eachPage(start, pages, pageBytes, where, (page, view, at) => {
    const first = view.getBigUint64(at + FIRST_WORD, true)
    const last = view.getBigUint64(at + pageBytes - LAST_WORD_FROM_END, true)
    const lastWanted = generation === 0n ? 0n : BigInt.asUintN(64, generation + BigInt(page))
    if (first !== generation || last !== lastWanted) {
      findings.problem(`${where}: page ${page} holds ${first} and ${last}, not ${generation} and ${lastWanted}`)
    }
  })
}
