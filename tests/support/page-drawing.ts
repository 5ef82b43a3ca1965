import assert from 'node:assert/strict'
import { pageRanges, type PagesReport, type PageStateName } from 'tidemark'
import type { DrawnRegion } from './guest-info.ts'

/** The signs of pagekinds-regions.h. */
const SIGNS: Readonly<Record<PageStateName, string>> = {
  mapped: '=', zero: 'z', cached: 'c', swapped: 's', fallocated: 'f', hole: '-', uncached: 'u', guard: 'g', poisoned: 'p', pastEnd: 'e', special: 'x', unknown: '?',
}

export interface DrawnStretch {
  readonly start: bigint
  readonly end: bigint
  readonly state: PageStateName
  readonly written: boolean
}

/** All that a report tells, in order. */
export function* stretchesOf(report: PagesReport): Generator<DrawnStretch> {
  for (const { ranges, start } of report.mappings) {
    assert.ok(ranges !== undefined, `no ranges of ${start}`)
    yield* pageRanges(ranges)
  }
}

/** What is told of a region, drawn as the guest draws it. Every page of it must be told, and once. */
export function drawRegion(stretches: Iterable<DrawnStretch>, region: DrawnRegion, pageBytes: number): string {
  const start = BigInt(region.start)
  const end = start + BigInt(region.pages * pageBytes)
  const pieces: { sign: string; pages: number }[] = []
  let at = start
  for (const stretch of stretches) {
    if (stretch.end <= start || stretch.start >= end) continue
    assert.ok(stretch.start <= start ? at === start : stretch.start === at, `${region.name}: not told once: ${at.toString(16)}`)
    at = stretch.end < end ? stretch.end : end
    const sign = stretch.state === 'mapped' && stretch.written ? '+' : SIGNS[stretch.state]
    const pages = Number(at - (stretch.start > start ? stretch.start : start)) / pageBytes
    if (pieces.at(-1)?.sign === sign) pieces.at(-1)!.pages += pages
    else pieces.push({ sign, pages })
  }
  assert.equal(at, end, `${region.name}: not told to its end`)
  return pieces.map(({ sign, pages }) => `${pages}${sign}`).join('')
}

/** One sign a page. */
export function spell(drawing: string): string {
  return drawing.replace(/(\d+)(\D)/g, (_, count: string, sign: string) => sign.repeat(Number(count)))
}
