import type { Kernel } from './kernel/kernel.ts'
import { probeTrackers, type Capability } from './linux/capabilities.ts'
import type { PagesReport } from './pages/report.ts'
import { surveyPages, type SurveyPlan } from './pages/survey.ts'
import type { TrackedKind, TrackerSupport } from './pages/tracker.ts'

const KINDS: readonly TrackedKind[] = ['anon', 'private-file', 'shared-file', 'shmem', 'hugetlb']
/** What protects pages one by one, waiting for us, since Linux 5.7 for anonymous memory and 5.19 for shared and hugetlb. */
const SYNC_FEATURES: Readonly<Partial<Record<TrackedKind, string>>> = {
  anon: 'userfaultfd-feature-pagefault-flag-wp', shmem: 'userfaultfd-feature-wp-hugetlbfs-shmem', hugetlb: 'userfaultfd-feature-wp-hugetlbfs-shmem',
}

interface Findings {
  readonly support: TrackerSupport
  readonly warnings: readonly string[]
}

/** Found once: this kernel and this user stay what they are. */
let findings: Findings | undefined

export function pagesOfTarget(kernel: Kernel, pid: number, plan: SurveyPlan, checkAborted: () => void): PagesReport {
  using space = kernel.openAddressSpace(pid)
  const { support, warnings } = findings ??= judge(probeTrackers())
  const report = surveyPages(space, plan, support, kernel.pageShift, checkAborted)
  return { ...report, warnings: [...report.warnings, ...warnings] }
}

function judge(found: readonly Capability[]): Findings {
  const byName = new Map(found.map((capability) => [capability.name, capability]))
  const available = (name: string | undefined): boolean => name !== undefined && byName.get(name)?.available === true
  // Without a free huge page nothing can be tried on one; the kernel has both kinds under one feature.
  const untried = byName.get('wp-async-hugetlb')?.detail.startsWith('not tried') === true && available('wp-async-shmem')
  return {
    support: {
      wpAsync: new Set(KINDS.filter((kind) => available(`wp-async-${kind}`) || (kind === 'hugetlb' && untried))),
      softDirty: available('soft-dirty'),
      wpSync: new Set(KINDS.filter((kind) => available('userfaultfd') && available(SYNC_FEATURES[kind]))),
    },
    warnings: available('pagemap-scan') ? [] : ['this kernel has no PAGEMAP_SCAN (Linux 6.7): huge pages are not told, and private pages that a fork still shares count as zero pages'],
  }
}
