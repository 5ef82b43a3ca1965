import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { probeCapabilities } from './capability-trials.ts'
import { TidemarkError } from './kernel/errors.ts'
import type { Capabilities, StrategyCapability } from './linux/capabilities.ts'
import { openLinuxKernel } from './linux/linux-kernel.ts'

const NOBODY = 65534
const isRoot = process.geteuid?.() === 0
const needsRoot = !isRoot && 'only root can become somebody else'
const status = readFileSync('/proc/self/status', 'latin1')
const isFiltered = !/^Seccomp:\s*0$/m.test(status)
const isFree = isRoot && !isFiltered && (BigInt(`0x${/^CapEff:\s*(\w+)$/m.exec(status)![1]}`) >> 19n & 1n) === 1n
const unprivilegedUserfaultfd = readSysctl('/proc/sys/vm/unprivileged_userfaultfd')
const yamaScope = readSysctl('/proc/sys/kernel/yama/ptrace_scope')

function readSysctl(path: string): number {
  try {
    return Number(readFileSync(path, 'latin1'))
  } catch {
    return 0
  }
}

/** Denies system calls with EPERM from then on, as a container's seccomp filter does. x86-64 numbers. */
const DENY = `
  const { systemCall } = await import('DIST/linux/ffi.js')
  const { allocateBlock } = await import('DIST/linux/block.js')
  const block = allocateBlock(4096), view = new DataView(block.bytes.buffer)
  const rules = [[0x20, 0, 0, 0], ...denied.map((nr, i) => [0x15, denied.length - i, 0, nr]), [6, 0, 0, 0x7fff0000], [6, 0, 0, 0x50001]]
  view.setUint16(0, rules.length, true)
  view.setBigUint64(8, BigInt(block.address + 64), true)
  rules.forEach(([code, jt, jf, k], i) => {
    view.setUint16(64 + i * 8, code, true), view.setUint8(66 + i * 8, jt), view.setUint8(67 + i * 8, jf), view.setUint32(68 + i * 8, k, true)
  })
  systemCall(157, 38, 1)
  if (systemCall(157, 22, 2, block.address) !== 0) throw new Error('no seccomp')
`

/** Probes in a process of its own, as another user or with system calls denied. */
function probeAs({ uid = 0, denied = [] }: { readonly uid?: number; readonly denied?: readonly number[] }): Capabilities {
  const dist = new URL('.', import.meta.url).href.replace(/\/$/, '')
  const script = `const denied = ${JSON.stringify(denied)}
    if (denied.length > 0) { ${DENY.replaceAll('DIST', dist)} }
    const { probeCapabilities } = await import('${dist}/capability-trials.js')
    console.log(JSON.stringify(probeCapabilities()))`
  const who = uid === 0 ? {} : { uid, gid: uid }
  const run = spawnSync(process.execPath, ['--input-type=module', '-e', script], { ...who, cwd: '/', encoding: 'utf8' })
  assert.equal(run.status, 0, `${run.signal ?? ''} ${run.stderr}`)
  return JSON.parse(run.stdout) as Capabilities
}

function strategyOf(found: Capabilities, name: StrategyCapability['strategy']): StrategyCapability {
  return found.strategies.find(({ strategy }) => strategy === name)!
}

const availabilityOf = (found: Capabilities, name: string): boolean | undefined => found.capabilities.find((one) => one.name === name)?.available

test('root can use every strategy that its probes say it can', { skip: !isFree && 'needs CAP_SYS_PTRACE and no seccomp filter' }, () => {
  const found = probeCapabilities()
  assert.deepEqual(found.strategies.map(({ strategy, available }) => [strategy, available]),
    [['stop', true], ['fork', true], ['precopy', availabilityOf(found, 'wp-async-anon')]])
})

test('an ordinary user can stop its own processes, and is told that others need CAP_SYS_PTRACE', { skip: needsRoot }, () => {
  const found = probeAs({ uid: NOBODY })
  const stop = strategyOf(found, 'stop')
  assert.equal(stop.available, yamaScope < 2 && !isFiltered)
  if (yamaScope === 0 && !isFiltered) assert.match(`${stop.why} ${stop.remedy}`, /CAP_SYS_PTRACE is missing.*your own processes/)
  assert.equal(availabilityOf(found, 'userfaultfd'), unprivilegedUserfaultfd === 1)
  assert.equal(availabilityOf(found, 'ptrace-other-users'), false)
  assert.equal(availabilityOf(found, 'map-files'), false)
})

test('where ptrace is forbidden nothing works, for want of permission', { skip: (process.arch !== 'x64' && 'numbers are of x86-64') || needsRoot }, () => {
  for (const uid of [0, NOBODY]) {
    const found = probeAs({ uid, denied: [101] })
    for (const { strategy, available, obstacle, why, remedy } of found.strategies) {
      assert.deepEqual([available, obstacle], [false, 'not-permitted'], strategy)
      assert.match(why, /EPERM, under a seccomp filter/)
      assert.match(remedy, /docker run --cap-add SYS_PTRACE --security-opt seccomp=unconfined/)
    }
  }
})

test('where only userfaultfd is forbidden precopy is missing, and the filter is named', { skip: (process.arch !== 'x64' && 'numbers are of x86-64') || (!isFree && 'needs CAP_SYS_PTRACE and no seccomp filter') }, () => {
  const found = probeAs({ denied: [323] })
  assert.deepEqual(found.strategies.map(({ available }) => available), [true, true, false])
  const { obstacle, why, remedy } = strategyOf(found, 'precopy')
  assert.equal(obstacle, 'not-permitted')
  assert.match(why, /userfaultfd.*EPERM, under a seccomp filter/)
  assert.match(remedy, /seccomp=unconfined/)
})

test('where process_vm_readv and pidfd_getfd are forbidden it says so', { skip: (process.arch !== 'x64' && 'numbers are of x86-64') || (!isFree && 'needs CAP_SYS_PTRACE and no seccomp filter') }, () => {
  const found = probeAs({ denied: [310, 438, 451, 319] })
  for (const name of ['process-vm-readv', 'pidfd-getfd', 'cachestat', 'wp-async-shmem']) assert.equal(availabilityOf(found, name), false, name)
  assert.equal(strategyOf(found, 'stop').available, false)
})

test('a processor that tidemark does not know has no strategies, and the rest is still told', () => {
  const found = probeCapabilities(() => { throw new TidemarkError('unsupported', 'tidemark does not know this processor') })
  assert.ok(found.capabilities.length > 20)
  for (const { available, obstacle } of found.strategies) assert.deepEqual([available, obstacle], [false, 'unsupported'])
})

test('leaves no children, no files and no memory behind', () => {
  const kernel = openLinuxKernel()
  for (let i = 0; i < 2; i++) probeCapabilities(() => kernel)
  const before = holdings()
  for (let i = 0; i < 5; i++) probeCapabilities(() => kernel)
  const after = holdings()
  assert.deepEqual({ ...after, ownKib: 0 }, { ...before, ownKib: 0 })
  // V8 and malloc take and give back as they like; one copy buffer forgotten in each run would be 128 MiB.
  assert.ok(after.ownKib - before.ownKib < 64 << 10, `grew by ${after.ownKib - before.ownKib} KiB`)
})

function holdings() {
  const children = readdirSync('/proc/self/task').flatMap((tid) => readFileSync(`/proc/self/task/${tid}/children`, 'latin1').split(' ').filter(Boolean))
  const ownKib = Number(/^VmData:\s*(\d+)/m.exec(readFileSync('/proc/self/status', 'latin1'))![1])
  return { children, files: readdirSync('/proc/self/fd').length, ownKib }
}
