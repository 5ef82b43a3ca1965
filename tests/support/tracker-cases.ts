/**
 * One list of cases for all trackers. A case makes its regions, is marked, takes its steps, and every page that changed must
 * be in the report. Commands are those of tests/guests/scribe.c; region names are the case's own.
 */
import type { HiddenWrites } from '#dist/tracking/report.js'

export type Need = 'swap' | 'hugetlb' | 'ksm'

export interface TrackerCase {
  readonly name: string
  readonly setup: readonly string[]
  /** Commands, and between them `collect`, where the report so far is checked, and `until merged`. */
  readonly steps: readonly string[]
  readonly needs?: Need
  /** In a guest of its own: it needs the end of the heap, or changes what others rest on. */
  readonly alone?: true
  /** What nobody writes may be reported again all the same: pinned, merged. */
  readonly restless?: true
  /** Blind spots that excuse what a page table could have shown. */
  readonly mayHide?: readonly HiddenWrites['kind'][]
}

const KINDS = ['anon', 'apart', 'thp', 'heap', 'brk', 'stack', 'deep', 'data', 'bss', 'shared', 'memfd', 'private-memfd', 'file', 'private-file', 'sysv', 'owned'] as const
const HUGE_KINDS: readonly string[] = ['thp', 'hugetlb']

const kindCases: readonly TrackerCase[] = KINDS.flatMap((kind) => {
  const pages = HUGE_KINDS.includes(kind) ? 1024 : 8
  return [
    { name: `${kind}: pages that were there, and pages that were not`, setup: [`map a ${kind} ${pages}`, 'write a 0 4'], steps: ['write a 1 2', 'write a 5 1', 'collect', 'write a 2 1'] },
    { name: `${kind}: nothing was written`, setup: [`map a ${kind} ${pages}`, 'write a 0 4'], steps: ['peek a 0 4'] },
  ]
})

/** Ways to write that need only memory. */
const WAYS = ['write', 'same', 'atomic', 'read', 'readv', 'direct', 'ring', 'vmwrite', 'procmem', 'poke', 'vchild'] as const

const wayCases: readonly TrackerCase[] = WAYS.flatMap((way) => [
  { name: `${way} into anonymous memory`, setup: ['map a anon 16', 'write a 0 8'], steps: [`${way} a 2 3`, `${way} a 9 4`, 'collect', `${way} a 10 1`] },
  { name: `${way} into shared memory`, setup: ['map a memfd 16', 'write a 0 8'], steps: [`${way} a 2 3`, `${way} a 9 4`] },
  { name: `${way} into a huge page`, setup: ['map a thp 512', 'write a 0 1'], steps: [`${way} a 100 2`, 'collect', `${way} a 300 1`] },
])

const writeCases: readonly TrackerCase[] = [
  { name: 'bytes across page borders', setup: ['map a anon 16', 'write a'], steps: ['span a 4000 8288', 'span a 20577 104', 'span a 40000 4000'] },
  { name: 'a page that was only read before is written', setup: ['map a anon 16', 'peek a'], steps: ['write a 3 2', 'collect', 'peek a', 'write a 3 1'] },
  { name: 'a signal frame on an alternate stack', setup: ['map a anon 16', 'write a'], steps: ['signal a'] },
  { name: 'io_uring reads into a buffer it took before the mark', setup: ['map a anon 16', 'write a', 'pin a'], steps: ['ringfixed a 2 4', 'write a 8 1', 'unpin', 'write a 9 1'], alone: true, restless: true },
  { name: 'io_uring reads into a buffer it takes after the mark', setup: ['map a anon 16', 'write a'], steps: ['pin a', 'ringfixed a 2 4', 'collect', 'ringfixed a 3 1', 'unpin', 'write a 9 1'], restless: true },
]

const forkCases: readonly TrackerCase[] = [
  { name: "a child's writes to its own copy do not matter", setup: ['map a anon 8', 'write a'], steps: ['child a 0 4', 'collect', 'write a 6 1'] },
  { name: 'writes after a fork, with the child alive', setup: ['map a anon 8', 'write a', 'map b private-file 8', 'write b'], steps: ['fork', 'write a 1 2', 'write b 3 1', 'collect', 'write a 2 1', 'join', 'write b 4 1'] },
  { name: 'writes with a child from before the mark', setup: ['map a anon 8', 'write a', 'fork'], steps: ['write a 1 2', 'collect', 'write a 1 1', 'join', 'collect', 'write a 1 1'], alone: true },
  { name: 'a huge page after a fork', setup: ['map a thp 512', 'write a 0 1'], steps: ['fork', 'write a 17 2', 'collect', 'write a 18 1', 'join'] },
  { name: 'a child writes shared memory', setup: ['map a memfd 8', 'write a', 'map b sysv 8', 'write b', 'map c shared 8', 'write c'], steps: ['child a 1 2', 'child b 3 1', 'child c 4 2', 'write a 6 1'] },
  { name: 'a memfd is written by its other mapping', setup: ['map a memfd 8', 'write a 0 4', 'alias b a'], steps: ['write b 1 2', 'collect', 'write a 2 1', 'write b 6 1'] },
]

const dropCases: readonly TrackerCase[] = [
  { name: 'MADV_DONTNEED, then a read: zeros', setup: ['map a anon 8', 'write a'], steps: ['drop a 2 3', 'peek a 2 2'] },
  { name: 'MADV_DONTNEED, then a write', setup: ['map a anon 8', 'write a'], steps: ['drop a 2 3', 'write a 3 1', 'collect', 'write a 4 1'] },
  { name: 'MADV_DONTNEED after a write', setup: ['map a anon 8', 'write a'], steps: ['write a 1 4', 'drop a 2 2', 'peek a 2 1'] },
  { name: 'MADV_FREE, and written again', setup: ['map a anon 8', 'write a'], steps: ['free a 2 4', 'write a 3 1', 'collect', 'write a 3 1'] },
  { name: 'MADV_FREE, and the kernel takes it', setup: ['map a anon 8', 'write a'], steps: ['free a 2 4', 'pageout a 2 4', 'peek a 2 1'], needs: 'swap' },
  { name: "MADV_DONTNEED of a private copy of a file's page: the file shows again", setup: ['map a private-file 8', 'write a 0 4'], steps: ['drop a 1 2', 'collect', 'write a 2 1'] },
  { name: 'the same of a private memfd, with a read after', setup: ['map a private-memfd 8', 'write a 0 4'], steps: ['drop a 1 2', 'peek a 1 1'] },
  { name: 'shared memory is written and unmapped from the page table', setup: ['map a memfd 8', 'write a'], steps: ['write a 2 2', 'drop a 2 2'] },
  { name: 'MADV_REMOVE of shared memory', setup: ['map a memfd 8', 'write a'], steps: ['remove a 2 2', 'peek a 2 1', 'collect', 'write a 2 1'] },
  { name: 'a hole is punched by the descriptor', setup: ['map a memfd 8', 'write a'], steps: ['punch a 2 2', 'collect', 'write a 3 1', 'punch a 5 1', 'peek a', 'collect', 'write a 6 1', 'punch a 6 1', 'peek a'] },
  { name: 'truncated and grown again', setup: ['map a memfd 8', 'write a', 'map b private-memfd 8', 'write b 0 6'], steps: ['truncate a 3', 'truncate b 4', 'collect', 'write a 4 1', 'write b 5 1'] },
  { name: 'the file is written by its descriptor', setup: ['map a file 8', 'peek a', 'map b private-file 8', 'peek b', 'write b 1 1'], steps: ['pwrite a 1 2', 'pwrite b 0 3', 'write a 5 1'] },
  { name: 'guard regions come and go', setup: ['map a anon 8', 'write a'], steps: ['guard a 2 2', 'write a 5 1', 'collect', 'unguard a 2 2', 'write a 2 1'] },
]

const remapCases: readonly TrackerCase[] = [
  { name: 'mremap moves', setup: ['map a anon 8', 'write a 0 6'], steps: ['move a', 'collect', 'write a 3 1', 'write a 7 1'] },
  { name: 'mremap moves what was written', setup: ['map a anon 8', 'write a 0 6'], steps: ['write a 2 2', 'move a', 'write a 0 1', 'collect', 'write a 0 1'] },
  { name: 'mremap moves shared memory and private pages of a file', setup: ['map a memfd 8', 'write a', 'map b private-file 8', 'write b 0 4'], steps: ['move a', 'move b', 'collect', 'write a 1 1', 'write b 1 1', 'write b 6 1'] },
  { name: 'mremap moves a huge page', setup: ['map a thp 512', 'write a 0 1'], steps: ['move a', 'collect', 'write a 44 1'] },
  { name: 'mremap grows in place', setup: ['map a apart 8', 'write a'], steps: ['grow a 8', 'write a 10 2', 'collect', 'write a 11 1', 'write a 14 1'] },
  { name: 'mremap grows and moves', setup: ['map a anon 8', 'write a'], steps: ['growmove a 8', 'write a 10 2', 'collect', 'write a 11 1', 'write a 3 1'] },
  { name: 'mremap shrinks, then grows again', setup: ['map a apart 8', 'write a'], steps: ['shrink a 4', 'write a 1 1', 'collect', 'grow a 4', 'write a 5 1'] },
  { name: 'the heap grows and shrinks by brk', setup: ['map a brk 8', 'write a'], steps: ['grow a 8', 'write a 10 2', 'collect', 'write a 2 1', 'write a 11 1', 'shrink a 8', 'collect', 'grow a 8', 'write a 9 1'], alone: true },
  { name: 'PROT_NONE and back', setup: ['map a anon 8', 'write a'], steps: ['none a 2 4', 'access a 2 4', 'write a 3 1', 'collect', 'write a 4 1'] },
  { name: 'PROT_NONE over a mark', setup: ['map a anon 8', 'write a', 'map b memfd 8', 'write b'], steps: ['write a 1 4', 'write b 1 4', 'none a 2 4', 'none b 2 4', 'collect', 'access a 2 4', 'access b 2 4', 'write a 3 1', 'write b 3 1'] },
  { name: 'read-only from before the mark, then written', setup: ['map a anon 8', 'write a', 'readonly a'], steps: ['access a 2 4', 'write a 3 1', 'readonly a', 'collect', 'access a', 'write a 3 2'] },
  { name: 'mappings split and merge', setup: ['map a anon 32', 'write a'], steps: ['none a 1 1', 'none a 3 1', 'none a 20 4', 'write a 0 1', 'write a 2 1', 'collect', 'access a', 'write a 1 1', 'write a 21 2'] },
  { name: 'munmap of a part', setup: ['map a anon 16', 'write a'], steps: ['unmap a 4 4', 'write a 2 1', 'write a 9 1', 'collect', 'write a 10 1'] },
  { name: 'MAP_FIXED over a part', setup: ['map a anon 16', 'write a'], steps: ['over a 4 4', 'write a 5 1', 'peek a 6 1', 'collect', 'write a 5 2', 'write a 1 1'] },
  { name: 'MAP_FIXED into a hole that munmap made', setup: ['map a anon 16', 'write a'], steps: ['unmap a 4 4', 'collect', 'over a 4 4', 'write a 4 2', 'collect', 'write a 4 1'] },
  { name: 'a part of a huge page is unmapped', setup: ['map a thp 1024', 'write a 0 1', 'write a 512 1'], steps: ['unmap a 0 256', 'write a 300 1', 'write a 600 1', 'collect', 'write a 301 1'] },
  { name: 'a part of a huge page is dropped', setup: ['map a thp 512', 'write a 0 1', 'write a 80 10'], steps: ['drop a 80 8', 'write a 82 1', 'peek a 84 1', 'collect', 'write a 84 1', 'write a 400 1'] },
  { name: 'new mappings between marks', setup: ['map a anon 8', 'write a'], steps: ['map b anon 8', 'write b 0 2', 'map c memfd 8', 'write c 1 1', 'map d private-file 8', 'write d 2 1', 'collect', 'write b 1 2', 'write c 2 1', 'write d 3 1', 'write a 1 1', 'collect', 'unmap b', 'map b anon 8', 'write b 6 1'] },
]

const machineCases: readonly TrackerCase[] = [
  { name: 'hugetlb', setup: ['map a hugetlb 1024', 'write a 0 1', 'write a 512 1'], steps: ['write a 5 1', 'collect', 'read a 700 2'], needs: 'hugetlb' },
  { name: 'swapped out before the mark', setup: ['map a anon 16', 'write a', 'pageout a'], steps: ['write a 2 2', 'peek a 8 2', 'collect', 'write a 2 1', 'write a 8 1'], needs: 'swap' },
  { name: 'swapped out with its mark, and back', setup: ['map a anon 16', 'write a'], steps: ['pageout a', 'peek a 0 4', 'collect', 'peek a', 'write a 3 1', 'pageout a', 'collect', 'write a 3 1'], needs: 'swap' },
  { name: 'written and swapped out', setup: ['map a anon 16', 'write a'], steps: ['write a 2 2', 'pageout a 2 2', 'collect', 'write a 3 1'], needs: 'swap' },
  { name: 'shared memory written and swapped out', setup: ['map a memfd 16', 'write a', 'map b sysv 16', 'write b', 'map c shared 16', 'write c'], steps: ['write a 2 2', 'pageout a', 'write b 3 2', 'pageout b', 'write c 4 2', 'pageout c', 'collect', 'peek a 2 1', 'write a 3 1', 'write b 3 1', 'write c 9 1'], needs: 'swap' },
  { name: "a private copy of a file's page swapped out", setup: ['map a private-file 16', 'write a 0 8'], steps: ['write a 2 2', 'pageout a', 'collect', 'write a 2 1', 'peek a 3 1'], needs: 'swap' },
  { name: 'pages merged by KSM', setup: ['map a anon 64', 'same a', 'merge a'], steps: ['until merged', 'write a 5 3', 'collect', 'write a 5 1', 'write a 40 2'], needs: 'ksm', mayHide: ['merged'], restless: true },
]

export const TRACKER_CASES: readonly TrackerCase[] = [...kindCases, ...wayCases, ...writeCases, ...forkCases, ...dropCases, ...remapCases, ...machineCases]
