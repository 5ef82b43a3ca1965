import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { ownTasks, probeLinux, type Capability } from './capabilities.ts'
import type { PageShift } from '../memory/address.ts'
import { SAMPLES } from './capabilities/sample.ts'

/** What is expected here is found by other means than the probes': the kernel's own configuration, /proc, our privileges. */
const policyBefore = schedulingPolicy()
const tasks = ownTasks()
const found = probeLinux(tasks)
const byName = new Map(found.capabilities.map((capability) => [capability.name, capability]))
const status = readFileSync('/proc/self/status', 'latin1')
const effective = BigInt(`0x${/^CapEff:\s*(\w+)$/m.exec(status)![1]}`)
const hasSysPtrace = (effective >> 19n & 1n) === 1n && /^Seccomp:\s*0$/m.test(status)
const configuration = existsSync('/proc/config.gz') ? gunzipSync(readFileSync('/proc/config.gz')).toString('latin1') : undefined
const noConfiguration = configuration === undefined && 'this kernel has no /proc/config.gz'
const isSet = (option: string): boolean => configuration!.includes(`\nCONFIG_${option}=y\n`)

function capability(name: string): Capability {
  const one = byName.get(name)
  assert.ok(one, `${name} is probed`)
  return one
}

const availabilityOf = (name: string): boolean => capability(name).available

test('names are unique, and what is missing has a reason and a remedy', () => {
  assert.equal(byName.size, found.capabilities.length)
  for (const { name, available, detail, remedy } of found.capabilities) {
    assert.match(name, /^[a-z0-9-]+$/)
    if (available) assert.equal(remedy, '', name)
    else assert.ok(detail !== '' && remedy !== '', `${name} says why not, and what to do`)
  }
})

test('soft-dirty is found exactly where the kernel was built with it', { skip: noConfiguration }, () => {
  assert.equal(availabilityOf('soft-dirty'), isSet('MEM_SOFT_DIRTY'))
})

test('userfaultfd and WP_ASYNC are found where the kernel was built with them', { skip: noConfiguration || (!hasSysPtrace && 'needs CAP_SYS_PTRACE and no seccomp filter') }, () => {
  assert.equal(availabilityOf('userfaultfd'), isSet('USERFAULTFD'))
  assert.equal(availabilityOf('userfaultfd-user-mode'), isSet('USERFAULTFD'))
  const async = isSet('PTE_MARKER_UFFD_WP') && availabilityOf('userfaultfd-feature-wp-async')
  for (const kind of ['anon', 'private-file', 'shared-file', 'shmem']) assert.equal(availabilityOf(`wp-async-${kind}`), async, kind)
  assert.equal(availabilityOf('pagemap-scan'), async)
})

test('WP_ASYNC on hugetlb pages is tried when there is a free one, and says so when there is none', () => {
  const free = Number(/^HugePages_Free:\s*(\d+)/m.exec(readFileSync('/proc/meminfo', 'latin1'))?.[1] ?? 0)
  if (free === 0) assert.match(capability('wp-async-hugetlb').detail + capability('wp-async-hugetlb').remedy, /no free hugetlb page.*nr_hugepages|no userfaultfd/)
  else assert.equal(availabilityOf('wp-async-hugetlb'), availabilityOf('wp-async-anon'))
})

test('/dev/userfaultfd works exactly where this user may open it', () => {
  let may = true
  try {
    readFileSync('/dev/userfaultfd', { flag: 'r+' }) // Reading it fails with EINVAL, opening it with ENOENT or EACCES.
  } catch (error) {
    may = !['ENOENT', 'EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '')
  }
  assert.equal(availabilityOf('userfaultfd-device'), may)
})

test('the sysctls and swap are those of /proc', () => {
  const sysctl = '/proc/sys/vm/unprivileged_userfaultfd'
  assert.equal(availabilityOf('userfaultfd-sysctl'), existsSync(sysctl) && readFileSync(sysctl, 'latin1').trim() === '1')
  assert.equal(availabilityOf('swap'), readFileSync('/proc/swaps', 'latin1').trim().split('\n').length > 1)
  assert.equal(availabilityOf('zram'), readdirSync('/sys/block').some((name) => name.startsWith('zram')))
})

test('a child of ours can be stopped and read', { skip: !hasSysPtrace && 'needs CAP_SYS_PTRACE and no seccomp filter' }, () => {
  for (const name of ['ptrace', 'pidfd-getfd', 'process-vm-readv', 'proc-mem', 'ptrace-strangers', 'ptrace-other-users']) assert.ok(availabilityOf(name), name)
})

test('leaves no children, no files and no memory behind', () => {
  const before = holdings()
  const kib = ownKib()
  for (let i = 0; i < 20; i++) probeLinux(tasks)
  assert.deepEqual(holdings(), before)
  assert.equal(schedulingPolicy(), policyBefore)
  // V8 and malloc take and give back as they like; the pages of one huge page sample are 4 MiB a run.
  assert.ok(ownKib() - kib < 32 << 10, `grew by ${ownKib() - kib} KiB`)
  assert.ok(!readdirSync('/tmp').some((name) => name.startsWith(`.tidemark-check-${process.pid}-`)))
})

test('a sample is gone when it is disposed of', () => {
  const shift = Math.log2(found.pageBytes) as PageShift
  for (const map of [SAMPLES.anon, SAMPLES.privateFile, SAMPLES.shmem]) {
    const before = sizeKib()
    for (let i = 0; i < 3000; i++) map(shift)[Symbol.dispose]()
    assert.ok(sizeKib() - before < 3000 * 3, `grew by ${sizeKib() - before} KiB`)
  }
})

/** Field 41 of proc_pid_stat(5): 0 is SCHED_OTHER. */
function schedulingPolicy(): string | undefined {
  return readFileSync('/proc/thread-self/stat', 'latin1').split(') ')[1]?.split(' ')[38]
}

const statusKib = (key: string): number => Number(new RegExp(`^${key}:\\s*(\\d+)`, 'm').exec(readFileSync('/proc/self/status', 'latin1'))![1])
const ownKib = (): number => statusKib('VmData')
const sizeKib = (): number => statusKib('VmSize')

/** What would be left of a probe: children, files, mappings of files that only samples map, memory still registered. */
function holdings() {
  const children = readdirSync('/proc/self/task').flatMap((tid) => readFileSync(`/proc/self/task/${tid}/children`, 'latin1').split(' ').filter(Boolean))
  const maps = readFileSync('/proc/self/maps', 'latin1').split('\n')
  return {
    children,
    files: readdirSync('/proc/self/fd').length,
    sampleMappings: maps.filter((line) => /memfd:tidemark|tidemark-check|anon_hugepage|capabilities\/sample/.test(line)),
    registered: readFileSync('/proc/self/smaps', 'latin1').split('\n').filter((line) => /^VmFlags:.* u[mwi]\b/.test(line)).length,
  }
}
