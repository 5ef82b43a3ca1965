import type { Mapping } from '../memory/mapping.ts'
import type { Followed } from '../tracking/tracking.ts'

const CELLS = 240

/**
 * The address space as a strip: mappings in address order, each as wide as the memory it has, and how many pages of each
 * cell were written. Within a mapping, cells are equal shares of its addresses.
 */
export function heatOf(followed: readonly Followed[], residentPages: (mapping: Mapping) => number): { readonly heat: number[]; readonly heatCellPages: number } {
  const widths = followed.map(({ mapping }) => residentPages(mapping))
  const total = widths.reduce((sum, pages) => sum + pages, 0)
  const heat = new Array<number>(total === 0 ? 0 : CELLS).fill(0)
  let left = 0
  followed.forEach(({ mapping, written }, i) => {
    const scale = widths[i]! / (mapping.end - mapping.start) / total * CELLS
    for (let span = 0; span < written.length && widths[i]! > 0; span++) {
      for (let page = written.starts[span]!; page < written.ends[span]!; page++) {
        heat[Math.min(CELLS - 1, Math.floor(left + (page - mapping.start) * scale))]!++
      }
    }
    left += (widths[i]! / (total || 1)) * CELLS
  })
  return { heat, heatCellPages: Math.round(total / CELLS) }
}
