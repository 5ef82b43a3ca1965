export interface CurvePoint {
  readonly ns: number
  /** Distinct pages written within that time. */
  readonly pages: number
}

/**
 * How many distinct pages a program writes within a given time. Not a rate: a program that writes the same pages over and
 * over writes few in a second and hardly more in ten. Measured at some intervals; between them it is a power of the time.
 */
export class DirtyCurve {
  readonly points: readonly CurvePoint[]
  readonly #pagesMax: number

  /** Several measurements of about the same interval are averaged by the caller. `pagesMax`: all there are. */
  constructor(points: readonly CurvePoint[], pagesMax: number) {
    const sorted = points.filter(({ ns }) => ns > 0).toSorted((a, b) => a.ns - b.ns)
    let least = 0
    // More time never means fewer pages, whatever the samples of a bursty program say.
    this.points = sorted.map(({ ns, pages }) => ({ ns, pages: least = Math.max(least, pages) }))
    this.#pagesMax = pagesMax
  }

  pagesWithin(ns: number): number {
    const above = this.points.findIndex((point) => point.ns >= ns)
    const pages = above === 0 ? this.#below(ns) : above < 0 ? this.#beyond(ns) : between(this.points[above - 1]!, this.points[above]!, ns)
    return Math.min(pages, this.#pagesMax)
  }

  /** In less than the shortest interval measured, pages are taken to come evenly. */
  #below(ns: number): number {
    const first = this.points[0]!
    return (first.pages * ns) / first.ns
  }

  #beyond(ns: number): number {
    const last = this.points.at(-1)
    const before = this.points.at(-2)
    if (last === undefined) return 0
    if (before === undefined) return (last.pages * ns) / last.ns
    return last.pages * (ns / last.ns) ** slope(before, last)
  }
}

/** Exponent of the power of time that goes through both points; between 0 (nothing new) and 1 (always new pages). */
function slope(a: CurvePoint, b: CurvePoint): number {
  if (a.pages <= 0 || b.ns <= a.ns) return b.pages > 0 ? 1 : 0
  return Math.min(1, Math.max(0, Math.log(b.pages / a.pages) / Math.log(b.ns / a.ns)))
}

function between(a: CurvePoint, b: CurvePoint, ns: number): number {
  if (a.pages <= 0) return (b.pages * (ns - a.ns)) / (b.ns - a.ns)
  return a.pages * (ns / a.ns) ** (Math.log(b.pages / a.pages) / Math.log(b.ns / a.ns))
}
