import type { PageNumber } from './address.ts'

/** Pages from `start` up to but not including `end`. Empty when they are equal. */
export interface PageRange {
  readonly start: PageNumber
  readonly end: PageNumber
}

export function pageCount(range: PageRange): number {
  return range.end - range.start
}

/** What two ranges share; `undefined` when they share nothing. */
export function intersection(a: PageRange, b: PageRange): PageRange | undefined {
  const start = a.start > b.start ? a.start : b.start
  const end = a.end < b.end ? a.end : b.end
  return start < end ? { start, end } : undefined
}
