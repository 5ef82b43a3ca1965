import { isFileBacked, type Mapping } from '../memory/mapping.ts'
import type { MappingDetail } from '../kernel/process.ts'

/** The bits of /proc/PID/coredump_filter, core(5). */
export const FilterBit = {
  anonymousPrivate: 1 << 0,
  anonymousShared: 1 << 1,
  filePrivate: 1 << 2,
  fileShared: 1 << 3,
  elfHeaders: 1 << 4,
  hugetlbPrivate: 1 << 5,
  hugetlbShared: 1 << 6,
} as const

/** How much of a mapping goes into the image. */
export type Share = 'whole' | 'first-page' | 'none'

export interface SelectionRules {
  /** Bits of {@link FilterBit}. */
  readonly filter: number
  /** Save what the program marked with MADV_DONTDUMP too. */
  readonly dontDumpToo: boolean
}

/**
 * What the kernel would put into a core file of this process: fs/coredump.c, vma_dump_size(), Linux 6.18.
 * A mapping that was born after the details were read has none and is judged by its line in /proc/PID/maps.
 */
export function shareOf(mapping: Mapping, detail: MappingDetail | undefined, rules: SelectionRules): Share {
  const has = (bit: number): boolean => (rules.filter & bit) !== 0
  if (mapping.path === '[vdso]') return 'whole'
  if (isUnreadable(mapping) || detail?.special) return 'none'
  if (detail?.dontDump && !rules.dontDumpToo) return 'none'
  if (detail?.hugetlb) return has(mapping.shared ? FilterBit.hugetlbShared : FilterBit.hugetlbPrivate) ? 'whole' : 'none'
  if (mapping.shared) return has(isNameless(mapping) ? FilterBit.anonymousShared : FilterBit.fileShared) ? 'whole' : 'none'
  if (!isFileBacked(mapping)) return has(FilterBit.anonymousPrivate) ? 'whole' : 'none'
  if (has(FilterBit.anonymousPrivate) && (detail === undefined ? mapping.writable : detail.hasAnonymous)) return 'whole'
  if (has(FilterBit.filePrivate)) return 'whole'
  return has(FilterBit.elfHeaders) && mapping.offset === 0 && mapping.readable ? 'first-page' : 'none'
}

/** [vvar] and [vsyscall] belong to the kernel and change under every reader. */
function isUnreadable(mapping: Mapping): boolean {
  return mapping.path.startsWith('[vvar') || mapping.path === '[vsyscall]'
}

/** An object without a name any more: shared anonymous memory, a memfd, System V shared memory, a deleted file. */
function isNameless(mapping: Mapping): boolean {
  return mapping.path === '' || mapping.path.endsWith(' (deleted)') || mapping.path.startsWith('/SYSV') || mapping.path.startsWith('/memfd:')
}
