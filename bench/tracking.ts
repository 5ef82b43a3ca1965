/**
 * `npm run bench -- tracking`: what tracking costs. How much slower a program becomes that does nothing but write random pages,
 * under each tracker and length of round; how long a look takes against the bare ioctl from C; buffers against hashing.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { attach, capabilities, type TrackerName } from 'tidemark'
import { openLinuxKernel } from '#dist/linux/linux-kernel.js'
import { PageSpans } from '#dist/memory/page-spans.js'
import { WpAsyncTracker } from '#dist/tracking/wp-async.js'
import { LineProgram } from './line-program.ts'
import type { Programs } from './programs.ts'
import { spreadOf, type Spread } from './statistics.ts'
import { renderTable } from './table.ts'

export interface TrackingPlan {
  readonly mib: number
  readonly roundsMs: readonly number[]
  readonly runs: number
  readonly windowMs: number
}

interface Greeting { readonly pid: number; readonly start: string; readonly pages: number }
interface Count { readonly writes: number; readonly ns: number }

const say = (text: string): void => console.log(text)
const note = (text: string): void => console.error(text)

export async function benchTracking(programs: Programs, plan: TrackingPlan): Promise<void> {
  await benchSlowdown(programs, plan)
  await benchScan(programs, plan)
}

/** Writes per second untracked and tracked take turns, so that a noisy minute falls on both. */
async function benchSlowdown(programs: Programs, plan: TrackingPlan): Promise<void> {
  const available = await availableTrackers()
  const rows: string[][] = []
  for (const tracker of available) {
    for (const roundMs of plan.roundsMs) {
      const slowdowns: number[] = []
      const pages: number[] = []
      for (let run = 0; run < plan.runs; run++) {
        const found = await measureSlowdown(programs, plan, tracker, roundMs)
        note(`${tracker}, rounds of ${roundMs} ms, ${run + 1} of ${plan.runs}: slower by ${(found.slowdown * 100).toFixed(1)} %`)
        slowdowns.push(found.slowdown * 100)
        pages.push(found.pagesPerRound)
      }
      rows.push([tracker, `${roundMs / 1000} s`, formatSpread(spreadOf(slowdowns)!, 1), String(Math.round(spreadOf(pages)!.median))])
    }
  }
  say(`A program that only writes, 8 bytes to a random page of ${plan.mib} MiB at a time: how much slower tracking makes it\n`)
  say(`${renderTable(['tracker', 'rounds of', 'slower by %', 'pages a round'], rows, 1)}\n`)
}

async function availableTrackers(): Promise<TrackerName[]> {
  const { trackers } = await capabilities()
  return trackers.filter(({ available }) => available).map(({ tracker }) => tracker)
}

async function measureSlowdown(programs: Programs, { mib, windowMs }: TrackingPlan, tracker: TrackerName, roundMs: number): Promise<{ readonly slowdown: number; readonly pagesPerRound: number }> {
  await using writer = new LineProgram(programs.path('writer'), [String(mib)])
  const { pid } = await writer.read<Greeting>()
  await writer.ask('run')
  const rate = async (ms: number): Promise<number> => {
    const before = await writer.ask<Count>('count')
    await sleep(ms)
    const after = await writer.ask<Count>('count')
    return (after.writes - before.writes) / (after.ns - before.ns)
  }
  await sleep(300)
  const free = await rate(windowMs)
  const target = await attach(pid)
  const tracking = await target.track({ trackers: [tracker] })
  const roundsWanted = Math.max(2, Math.round((2 * windowMs) / roundMs))
  await tracking.collect()
  const before = await writer.ask<Count>('count')
  let pages = 0
  for (let round = 0; round < roundsWanted; round++) {
    await sleep(roundMs)
    pages += (await tracking.collect()).writtenPages
  }
  const after = await writer.ask<Count>('count')
  const tracked = (after.writes - before.writes) / (after.ns - before.ns)
  await tracking[Symbol.asyncDispose]()
  await target[Symbol.asyncDispose]()
  const freeAgain = await rate(windowMs)
  return { slowdown: 1 - tracked / ((free + freeAgain) / 2), pagesPerRound: pages / roundsWanted }
}

/** The same ioctl on the same pages, by turns; ours decodes to byte ranges as it reports them. */
async function benchScan(programs: Programs, plan: TrackingPlan): Promise<void> {
  await using writer = new LineProgram(programs.path('writer'), [String(plan.mib)])
  const { pid, start, pages } = await writer.read<Greeting>()
  await using bare = new LineProgram(programs.path('bare-scan'), [String(pid), start, String(pages)])
  const kernel = openLinuxKernel()
  using process = kernel.openProcess(pid)
  const tracker = new WpAsyncTracker(kernel, process, 1e9)
  const first = Number(BigInt(start) >> BigInt(kernel.pageShift))
  tracker.adoptAll((mapping) => mapping.start <= first && first < mapping.end)
  const mapping = process.mappings().find((mapping) => mapping.start <= first && first < mapping.end)!
  const spans = new PageSpans()
  tracker.mark([mapping], () => spans)
  const rows: string[][] = []
  for (const percent of [0, 1, 10, 100]) {
    const ours: number[] = []
    const theirs: number[] = []
    // The first runs make the code of both warm.
    for (let run = -3; run < plan.runs * 3; run++) {
      await writer.ask(`dirty ${Math.round((pages * percent) / 100)}`)
      const { ns } = await bare.ask<{ readonly ns: number }>('scan')
      await writer.ask(`dirty ${Math.round((pages * percent) / 100)}`)
      const before = performance.now()
      spans.clear()
      tracker.collect([mapping], () => spans)
      spans.sort().toAddresses(kernel.pageShift)
      const oursNs = (performance.now() - before) * 1e6
      if (run >= 0) {
        ours.push(oursNs)
        theirs.push(ns)
      }
    }
    const perGib = (ns: number): number => ns / 1e6 / (plan.mib / 1024)
    const ratio = spreadOf(ours)!.median / spreadOf(theirs)!.median
    rows.push([`${percent} %`, formatSpread(mapSpread(spreadOf(ours)!, perGib), 2), formatSpread(mapSpread(spreadOf(theirs)!, perGib), 2), ratio.toFixed(2)])
  }
  tracker.end(() => true)
  kernel[Symbol.dispose]()
  say(`A look at ${plan.mib} MiB of 4 KiB pages: what was written is taken and marked again, as byte ranges\n`)
  say(`${renderTable(['written', 'tidemark ms/GiB', 'C ms/GiB', 'ratio'], rows, 1)}\n`)
}

function mapSpread({ median, min, max }: Spread, of: (value: number) => number): Spread {
  return { median: of(median), min: of(min), max: of(max) }
}

function formatSpread({ median, min, max }: Spread, digits: number): string {
  return `${median.toFixed(digits)} (${min.toFixed(digits)}–${max.toFixed(digits)})`
}
