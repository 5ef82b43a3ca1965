import type { HotColdInfo, OddInfo, RegionInfo, VictimInfo, WavefrontInfo, WaveThreadInfo } from './guest-info.ts'
import { type CheckResult, Findings, hex, type ImageUnderTest, mix } from './checked-image.ts'
import { checkBlock, checkBlocks, checkLedger } from './ledger-check.ts'
import { decodeWaveRegisters, machineOf, vectorProblems, type WaveRegisters } from './wave-registers.ts'

export type { CheckResult, ImageUnderTest } from './checked-image.ts'

/** Whether an image of `wavefront` is one instant: no problems means that it is not torn. */
export function checkWavefront(info: WavefrontInfo, image: ImageUnderTest): CheckResult {
  const findings = new Findings(image)
  for (const thread of info.threads) checkThread(info, thread, image, findings)
  if (info.ledger !== undefined) checkLedger(info.ledger, info.pageBytes, image, findings)
  return findings.result
}

function checkThread(info: WavefrontInfo, thread: WaveThreadInfo, image: ImageUnderTest, findings: Findings): void {
  const what = `thread ${thread.tid}`
  const tag = BigInt(thread.tag)
  if (thread.cold !== undefined) {
    checkBlock({ what: `${what} cold`, start: BigInt(thread.cold.start), pages: thread.cold.pages, generation: tag }, info.pageBytes, findings)
  }
  const words = readWords(info, thread, what, findings)
  if (words.length < 2 * thread.pages) return
  checkShape(words, what, findings)
  if (image.registers === undefined) return
  const bytes = image.registers.get(thread.tid)
  if (bytes === undefined) {
    findings.problem(`${what}: the image has no registers`)
    return
  }
  const registers = decodeWaveRegisters(bytes, machineOf(image))
  const inLoop = registers.pc >= BigInt(info.code.start) && registers.pc < BigInt(info.code.end)
  if (!inLoop) {
    findings.problem(`${what}: its pc ${hex(registers.pc)} is outside of its loop`)
    return
  }
  findings.exactThreads++
  checkRegisters(thread, registers, words, findings)
  const vectors = image.vectorRegisters?.get(thread.tid)
  if (vectors === undefined) return
  for (const problem of vectorProblems(vectors, machineOf(image), tag, info.avx)) findings.problem(`${what}: ${problem}`)
}

/** Two words per page, in the order in which the loop writes them. */
function readWords(info: WavefrontInfo | HotColdInfo, region: RegionInfo, what: string, findings: Findings): bigint[] {
  const words: bigint[] = []
  findings.eachPage(BigInt(region.start), region.pages, info.pageBytes, what, (_page, view, at) => {
    words.push(view.getBigUint64(at + info.firstOffset, true), view.getBigUint64(at + info.lastOffset, true))
  })
  return words
}

/** With or without registers: the words are k + 1 up to some word and k after it. */
function checkShape(words: readonly bigint[], what: string, findings: Findings): void {
  let steps = 0
  for (let i = 1; i < words.length; i++) {
    const [before = 0n, after = 0n] = [words[i - 1], words[i]]
    if (before === after) continue
    steps++
    if (before !== after + 1n) findings.problem(`${what}: word ${i - 1} holds ${before} and word ${i} holds ${after}`)
  }
  if (steps > 1) findings.problem(`${what}: ${steps} steps in one region`)
}

function checkRegisters(thread: WaveThreadInfo, registers: WaveRegisters, words: readonly bigint[], findings: Findings): void {
  const what = `thread ${thread.tid}`
  const { page, wave } = registers
  const pages = BigInt(thread.pages)
  const same = (name: string, found: bigint, wanted: bigint) => {
    if (found !== wanted) findings.problem(`${what}: its register ${name} is ${hex(found)} and not ${hex(wanted)}`)
  }
  same('base', registers.base, BigInt(thread.start))
  same('struct', registers.struct, BigInt(thread.struct))
  same('pages', registers.pages, pages)
  same('tag', registers.tag, BigInt(thread.tag))
  if (page > pages) findings.problem(`${what}: its register page is ${page} of ${pages}`)
  words.forEach((word, i) => {
    const index = BigInt(i >> 1)
    const either = index === page || (page === pages && word === words[0])
    const wanted = index < page ? wave : wave - 1n
    if (word === wanted || (either && (word === wave || word === wave - 1n))) return
    findings.problem(`${what}: page ${index} holds ${word}, but the registers are at page ${page} of wave ${wave}`)
  })
  const published = findings.word(BigInt(thread.published), `${what}: published`)
  const mayBeEnded = page === 0n || page === pages
  if (published === undefined || published === wave - 1n || (mayBeEnded && published === wave)) return
  findings.problem(`${what}: it published wave ${published}, but the registers are at page ${page} of wave ${wave}`)
}

/** Whether an image of `hotcold` is one instant. */
export function checkHotCold(info: HotColdInfo, image: ImageUnderTest): CheckResult {
  const findings = new Findings(image)
  checkShape(readWords(info, info.hot, 'the hot set', findings), 'the hot set', findings)
  checkBlock({ what: 'the cold set', start: BigInt(info.cold.start), pages: info.cold.pages, generation: 1n }, info.pageBytes, findings)
  return findings.result
}

/** A page of `victim` may be ahead of its sequence number by one write, in one page per thread. */
export function checkVictim(info: VictimInfo, image: ImageUnderTest): CheckResult {
  const findings = new Findings(image)
  const { start, pages } = info.regions[0]
  const { pageBytes } = info
  const wordsPerPage = pageBytes / 8
  const sequence = findings.view(BigInt(info.sequence), pages * 8, 'the sequence numbers')
  if (sequence === undefined) return findings.result
  let ahead = 0
  findings.eachPage(BigInt(start), pages, pageBytes, 'the region', (page, view, at) => {
    const wanted = sequence.getBigUint64(page * 8, true)
    const first = view.getBigUint64(at, true)
    const last = view.getBigUint64(at + pageBytes - 8, true)
    const written = mix(first + BigInt(page))
    if (first === wanted + 1n) {
      ahead++
      // Between its two stores a page has its new first word and its old last one.
      if (last !== written && last !== mix(wanted + BigInt(page))) findings.problem(`page ${page}: its last word is of no write`)
    } else if (first !== wanted) findings.problem(`page ${page} holds write ${first}, but its number is ${wanted}`)
    else if (last !== written) findings.problem(`page ${page}: its last word is not of write ${first}`)
    const index = 1 + (page % (wordsPerPage - 2))
    if (view.getBigUint64(at + index * 8, true) !== mix(BigInt(page * wordsPerPage + index))) {
      findings.problem(`page ${page}: word ${index}, which never changes, did`)
    }
  })
  if (ahead > info.threads) findings.problem(`${ahead} pages are ahead of their numbers, with ${info.threads} threads writing`)
  return findings.result
}

/** Everything that a mode of `odd` says about its memory. */
export function checkOdd(info: OddInfo, image: ImageUnderTest): CheckResult {
  const findings = new Findings(image)
  checkBlocks(info.blocks, info.pageBytes, image, findings)
  if (info.ledger !== undefined) checkLedger(info.ledger, info.pageBytes, image, findings)
  if (info.alias !== undefined) checkAlias(info.alias, info.pageBytes, findings)
  return findings.result
}

/** Both mappings are one memory, and in it is one step. */
function checkAlias(alias: NonNullable<OddInfo['alias']>, pageBytes: number, findings: Findings): void {
  const sides = [alias.first, alias.second].map((start, side) => {
    const words: bigint[] = []
    findings.eachPage(BigInt(start), alias.pages, pageBytes, `alias ${side}`, (_page, view, at) => {
      words.push(view.getBigUint64(at + 64, true), view.getBigUint64(at + pageBytes - 64, true))
    })
    checkShape(words, `alias ${side}`, findings)
    return words
  })
  const [first = [], second = []] = sides
  first.forEach((word, i) => {
    if (word !== second[i]) findings.problem(`word ${i} of the two aliases is ${word} and ${second[i]}`)
  })
}
