/**
 * What it costs to learn and copy what was written of a buffer: by trackBuffer, by copying everything, by hashing every page.
 * `npm run bench -- buffers`. Asserts nothing about time; throws when a copy is not the buffer.
 */
import xxhash from 'xxhash-wasm'
import { trackBuffer } from 'tidemark'
import { spreadOf, type Spread } from './statistics.ts'
import { renderTable } from './table.ts'

const PAGE_BYTES = 4096
const SHARES = [0.001, 0.01, 0.1, 1]

export interface BufferBenchOptions {
  readonly mib: number
  readonly runs: number
}

/** One way to bring a copy of a buffer up to date. */
interface Contender {
  readonly name: string
  update(): void
  readonly copy: Uint8Array
}

/** Medians (least–most) of the times, and what they are to trackBuffer's, as text to print. */
export async function benchBuffers({ mib, runs }: BufferBenchOptions): Promise<string> {
  const buffer = new ArrayBuffer(mib * 2 ** 20)
  const bytes = new Uint8Array(buffer)
  for (let at = 0; at < bytes.length; at += 64) bytes[at] = at >>> 6
  const contenders = await makeContenders(buffer)
  for (const contender of contenders) contender.update()
  const rows: string[][] = []
  for (const share of SHARES) {
    const times = measure(bytes, share, contenders, runs)
    const ours = times[0]!.median
    rows.push([`${share * 100} %`, ...times.map((spread, i) => `${text(spread)}${i === 0 ? '' : `, ×${(spread.median / ours).toFixed(1)}`}`)])
  }
  const [plain, tracked] = firstWrites(buffer, runs)
  return [
    `${mib} MiB, written at random pages; milliseconds to bring a copy up to date, median (least–most) of ${runs}, and × trackBuffer's:`, '',
    renderTable(['written', ...contenders.map(({ name }) => name)], rows), '',
    `first write to a page: ${text(tracked)} µs after a mark, ${text(plain)} µs without`,
  ].join('\n')
}

async function makeContenders(buffer: ArrayBuffer): Promise<Contender[]> {
  const { h64Raw } = await xxhash()
  const bytes = new Uint8Array(buffer)
  const tracked = trackBuffer(buffer, { tracker: 'wp-async' })
  const comparing = trackBuffer(buffer, { tracker: 'compare' })
  const copies = Array.from({ length: 4 }, () => new Uint8Array(bytes.length).fill(1)) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array]
  const hashes = new BigUint64Array(bytes.length / PAGE_BYTES)
  const updateByHash = (): void => {
    for (let page = 0; page < hashes.length; page++) {
      const contents = bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES)
      const hash = h64Raw(contents)
      if (hash === hashes[page]) continue
      hashes[page] = hash
      copies[2].set(contents, page * PAGE_BYTES)
    }
  }
  return [
    { name: 'trackBuffer', copy: copies[0], update: () => void tracked.copyWritten(copies[0]) },
    { name: 'copy everything', copy: copies[1], update: () => copies[1].set(bytes) },
    { name: 'hash every page (XXH64)', copy: copies[2], update: updateByHash },
    { name: 'trackBuffer by compare', copy: copies[3], update: () => void comparing.copyWritten(copies[3]) },
  ]
}

/** Every run writes once and lets each bring its copy up to date, beginning with another each time. */
function measure(bytes: Uint8Array, share: number, contenders: readonly Contender[], runs: number): Spread[] {
  const pages = bytes.length / PAGE_BYTES
  const times = contenders.map((): number[] => [])
  for (let run = 0; run < runs; run++) {
    for (let i = 0; i < share * pages; i++) bytes[(share === 1 ? i : Math.floor(Math.random() * pages)) * PAGE_BYTES + run]! += 1
    for (let turn = 0; turn < contenders.length; turn++) {
      const index = (run + turn) % contenders.length
      const start = performance.now()
      contenders[index]!.update()
      times[index]!.push(performance.now() - start)
    }
    for (const { name, copy } of contenders) if (Buffer.compare(copy, bytes) !== 0) throw new Error(`the copy by ${name} is not the buffer`)
  }
  return times.map((values) => spreadOf(values)!)
}

/** Microseconds for one byte on each page, without and with a mark. */
function firstWrites(buffer: ArrayBuffer, runs: number): [Spread, Spread] {
  const bytes = new Uint8Array(buffer)
  const pages = bytes.length / PAGE_BYTES
  const time = (): number => {
    const start = performance.now()
    for (let page = 0; page < pages; page++) bytes[page * PAGE_BYTES]! += 1
    return (performance.now() - start) * 1000 / pages
  }
  using tracked = trackBuffer(buffer, { tracker: 'wp-async' })
  const [plain, marked]: [number[], number[]] = [[], []]
  for (let run = 0; run < runs; run++) {
    tracked.mark()
    marked.push(time())
    plain.push(time())
  }
  return [spreadOf(plain)!, spreadOf(marked)!]
}

function text({ median, min, max }: Spread): string {
  const digits = max < 10 ? 2 : max < 100 ? 1 : 0
  return `${median.toFixed(digits)} (${min.toFixed(digits)}–${max.toFixed(digits)})`
}
