import { pageRanges, type PagesReport, type PageStateName } from 'tidemark'
import type { DrawnRegion } from './guest-info.ts'

/** The signs of pagekinds-regions.h. */
const SIGNS: Readonly<Record<PageStateName, string>> = {
  mapped: '=', zero: 'z', cached: 'c', swapped: 's', fallocated: 'f', hole: '-', uncached: 'u', guard: 'g', poisoned: 'p', pastEnd: 'e', special: 'x', unknown: '?',
}

/** What a report says of a region, drawn as the guest draws it. Throws where the report does not tell every page. */
export function drawRegion(report: PagesReport, region: DrawnRegion): string {
  const start = BigInt(region.start)
  const end = start + BigInt(region.pages * report.pageBytes)
  const pieces: { sign: string; pages: number }[] = []
  let at = start
  for (const { ranges } of report.mappings) {
    if (ranges === undefined) throw new Error('the report has no ranges')
    for (const stretch of pageRanges(ranges)) {
      if (stretch.end <= start || stretch.start >= end) continue
      if (stretch.start > at) throw new Error(`${region.name}: nothing is told of ${at.toString(16)}`)
      const stop = stretch.end < end ? stretch.end : end
      const sign = stretch.state === 'mapped' && stretch.written ? '+' : SIGNS[stretch.state]
      const pages = Number(stop - at) / report.pageBytes
      if (pieces.at(-1)?.sign === sign) pieces.at(-1)!.pages += pages
      else pieces.push({ sign, pages })
      at = stop
    }
  }
  if (at !== end) throw new Error(`${region.name}: told only up to ${at.toString(16)}`)
  return pieces.map(({ sign, pages }) => `${pages}${sign}`).join('')
}

/** One sign a page. */
export function spell(drawing: string): string {
  return drawing.replace(/(\d+)(\D)/g, (_, count: string, sign: string) => sign.repeat(Number(count)))
}
