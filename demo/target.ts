/**
 * The demo's target, a program like any other: it holds memory, keeps writing to it, and looks at the clock on every
 * turn, so that it feels when it is made to stand still. It knows nothing of tidemark.
 *
 * target MIB WRITES_PER_SECOND TOKEN; over IPC it answers "stall" with the worst since it was last asked.
 */
import { Witness, type Testimony } from './witness.ts'

export interface StallReport {
  readonly kind: 'stall'
  readonly worstStallMs: number
  readonly writes: number
}

export interface FinalReport {
  readonly kind: 'end'
  readonly testimony: Testimony
}

export type TargetReport = { readonly kind: 'ready' } | StallReport | FinalReport
export type TargetRequest = 'stall' | 'end'

const CHUNK_BYTES = 16 << 20
/** How long it works before it lets the event loop see whether there is mail. */
const TURN_MS = 2

const [mib = '256', writesPerSecond = '10000', token = ''] = process.argv.slice(2)
const interval = 1000 / Number(writesPerSecond)
const witness = new Witness(Buffer.from(token, 'hex'))
const chunks = Array.from({ length: Math.ceil((Number(mib) << 20) / CHUNK_BYTES) }, (_, i) => filled(i + 1))

let random = 0x7469_6465
let worstStallMs = 0
let writes = 0
let last = performance.now()
let due = last

/** Words of which no two pages are alike, so that nothing can be left out as zero or as a duplicate. */
function filled(seed: number): Uint32Array {
  const words = new Uint32Array(CHUNK_BYTES / 4)
  let state = seed * 0x9e37_79b9 | 1
  for (let i = 0; i < words.length; i++) {
    state = next(state)
    words[i] = state
  }
  return words
}

/** xorshift32; never zero. */
function next(state: number): number {
  state ^= state << 13
  state ^= state >>> 17
  return state ^ state << 5
}

function write(): void {
  witness.write()
  random = next(random)
  const chunk = chunks[(random >>> 8) % chunks.length]!
  chunk[(random >>> 4) % chunk.length] = random
  writes++
}

/** Looks at the clock after every write, and while there is nothing to write: a gap is time it did not run. */
function turn(): void {
  const end = last + TURN_MS
  while (last < end) {
    if (last >= due) {
      write()
      due += interval
      // What was missed while it stood still is dropped: catching up would be a second disturbance.
      if (last - due > 1) due = last
    }
    const now = performance.now()
    if (now - last > worstStallMs) worstStallMs = now - last
    last = now
  }
  setImmediate(turn)
}

const report = (message: TargetReport): void => void process.send?.(message)

process.on('message', (request: TargetRequest) => {
  if (request === 'end') {
    process.send?.({ kind: 'end', testimony: witness.examine() } satisfies TargetReport, () => process.exit(0))
    return
  }
  report({ kind: 'stall', worstStallMs, writes })
  worstStallMs = 0
  writes = 0
})
process.on('disconnect', () => process.exit(1))
// Ctrl-C reaches the whole foreground group, but when to end is the demo's business.
process.on('SIGINT', () => {})

report({ kind: 'ready' })
turn()
