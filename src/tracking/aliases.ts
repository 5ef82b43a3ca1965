import { isFileBacked, objectKey, type Mapping } from '../memory/mapping.ts'
import { PageSpans } from '../memory/page-spans.ts'
import { grouped } from './grouped.ts'
import type { Sink } from './tracker.ts'

/** A write through one mapping of a shared object shows in no page table of the others: adds to each what was found in the others. */
export function projectAliases(mappings: readonly Mapping[], spansOf: Sink, pageBytes: number): void {
  for (const aliases of sharedObjects(mappings)) {
    const originals = aliases.map((mapping) => {
      const copy = new PageSpans()
      copy.addSpans(spansOf(mapping))
      return copy
    })
    aliases.forEach((to, i) => aliases.forEach((from, j) => {
      if (i !== j) spansOf(to).addSpans(originals[j]!, to.start - from.start + (from.offset - to.offset) / pageBytes, to)
    }))
  }
}

/** Mappings of the same shared object, where there are several. */
function sharedObjects(mappings: readonly Mapping[]): Mapping[][] {
  const byObject = grouped(mappings, (mapping) => mapping.shared && isFileBacked(mapping) ? objectKey(mapping) : undefined)
  return [...byObject.values()].filter((aliases) => aliases.length > 1)
}
