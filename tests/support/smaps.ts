import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import type { MappingPages, PagesReport } from 'tidemark'

/** Sizes of a mapping by the kernel's own names, in KiB. */
type SmapsEntry = ReadonlyMap<string, number>

/** /proc/PID/smaps by each mapping's start, in this API's form. */
function readSmaps(pid: number): Map<string, SmapsEntry> {
  const entries = new Map<string, Map<string, number>>()
  let entry = new Map<string, number>()
  for (const line of readFileSync(`/proc/${pid}/smaps`, 'utf8').split('\n')) {
    const head = /^([0-9a-f]+)-[0-9a-f]+ /.exec(line)
    const size = /^(\w+):\s+(\d+) kB$/.exec(line)
    if (head !== null) entries.set(`0x${head[1]!.padStart(16, '0')}`, entry = new Map())
    else if (size !== null) entry.set(size[1]!, Number(size[2]))
  }
  return entries
}

/** Every way in which a mapping's counts differ from what the kernel says of it. */
function differences(mapping: MappingPages, smaps: SmapsEntry | undefined, pageBytes: number): string[] {
  if (smaps === undefined) return [`${mapping.start} ${mapping.path}: smaps does not know it`]
  const kib = (...names: readonly string[]): number => names.reduce((sum, name) => sum + (smaps.get(name) ?? 0), 0)
  const isHugetlb = mapping.kind === 'hugetlb'
  const claims: readonly (readonly [name: string, pages: number, kib: number])[] = [
    ['Size', mapping.pages, kib('Size')],
    ['Rss', mapping.mappedPages, isHugetlb ? kib('Private_Hugetlb', 'Shared_Hugetlb') : kib('Rss')],
    ['Swap', mapping.swappedPages, kib('Swap')],
    ['Anonymous', isHugetlb ? 0 : mapping.anonPages, kib('Anonymous')],
    ['huge pages', isHugetlb ? 0 : mapping.hugePages, kib('AnonHugePages', 'ShmemPmdMapped', 'FilePmdMapped')],
  ]
  return claims.filter(([, pages, kib]) => pages * pageBytes !== kib * 1024)
    .map(([name, pages, kib]) => `${mapping.start} ${mapping.kind} ${mapping.path}: ${name} is ${kib} KiB and we say ${(pages * pageBytes) / 1024}`)
}

/** Precondition: the process stands still. */
export function assertAgrees(pid: number, report: PagesReport): void {
  const smaps = readSmaps(pid)
  assert.deepEqual(report.mappings.flatMap((mapping) => differences(mapping, smaps.get(mapping.start), report.pageBytes)), [])
  assert.equal(report.mappings.length, smaps.size)
}
