import { closeSync, openSync } from 'node:fs'
import type { Capability } from '../capabilities.ts'
import { allocateBlock, putU64 } from '../block.ts'
import { errno, errnoName } from '../errno.ts'
import { systemCall } from '../ffi.ts'
import { NR } from '../system-calls.ts'
import { UFFDIO_API, UFFDIO_API_VERSION } from '../userfault.ts'
import { attempt, fails, works, type Outcome } from './attempt.ts'
import { howToTrace, readSysctl, type Situation } from './situation.ts'

const O_CLOEXEC_NONBLOCK = 0o2004000
/** Linux 5.11: faults of the kernel's own accesses are not ours, and anybody may have it. */
const USER_MODE_ONLY = 1
const USERFAULTFD_IOC_NEW = 0xaa00
const DEVICE = '/dev/userfaultfd'

/** A new userfaultfd of ours, or minus an error number. */
type Opener = () => number

interface UserfaultfdFindings {
  readonly found: readonly Capability[]
  /** The first way that worked; `undefined` when none does. */
  readonly open: Opener | undefined
}

/** Bit, name, the Linux that brought it, and what is lost without it. */
const FEATURES: readonly (readonly [bit: number, name: string, since: string, loss: string])[] = [
  [0, 'PAGEFAULT_FLAG_WP', '5.7 (arm64: 6.10)', 'no writes can be caught one by one'],
  [1, 'EVENT_FORK', '4.11', 'a fork of a followed process is not noticed'],
  [2, 'EVENT_REMAP', '4.11', 'mremap is not noticed as it happens'],
  [3, 'EVENT_REMOVE', '4.11', 'madvise(MADV_DONTNEED) is not noticed before the data is gone'],
  [4, 'MISSING_HUGETLBFS', '4.11', 'hugetlb memory cannot be filled on demand'],
  [5, 'MISSING_SHMEM', '4.11', 'shared memory cannot be filled on demand'],
  [6, 'EVENT_UNMAP', '4.11', 'munmap is not noticed as it happens'],
  [7, 'SIGBUS', '4.14', 'nothing that tidemark does'],
  [8, 'THREAD_ID', '4.14', 'the thread that touched a page is not known'],
  [9, 'MINOR_HUGETLBFS', '5.13', 'nothing that tidemark does'],
  [10, 'MINOR_SHMEM', '5.14', 'nothing that tidemark does'],
  [11, 'EXACT_ADDRESS', '5.18', 'a caught write is known by its page only'],
  [12, 'WP_HUGETLBFS_SHMEM', '5.19 (arm64: 6.10)', 'writes to shared and hugetlb memory cannot be caught'],
  [13, 'WP_UNPOPULATED', '6.4 (arm64: 6.10)', 'first writes to untouched memory are missed'],
  [14, 'POISON', '6.6', 'a page that cannot be had cannot be made to fail alone'],
  [15, 'WP_ASYNC', '6.7 (arm64: 6.10)', 'writes are not followed by the kernel itself: no precopy'],
  [16, 'MOVE', '6.8', 'pages are copied where they could be moved'],
  [17, 'RWP', '7.3', 'reads cannot be followed: the working set is only estimated'],
  [18, 'RWP_ASYNC', '7.3', 'reads cannot be followed: the working set is only estimated'],
]

export function probeUserfaultfd(situation: Situation): UserfaultfdFindings {
  const openers = {
    syscall: () => systemCall(NR.userfaultfd, O_CLOEXEC_NONBLOCK),
    syscallUser: () => systemCall(NR.userfaultfd, O_CLOEXEC_NONBLOCK | USER_MODE_ONLY),
    device: () => openDevice(0),
    deviceUser: () => openDevice(USER_MODE_ONLY),
  }
  const open = Object.values(openers).find((opener) => closed(opener()) >= 0)
  const way = (name: string, title: string, opener: Opener, remedy: string): Capability =>
    attempt({ name, group: 'tracking', title, remedy, body: () => openingOutcome(opener, situation) })
  const { filtered } = situation
  return {
    open,
    found: [
      way('userfaultfd', 'userfaultfd, the kernel\'s own accesses too', openers.syscall,
        `writes that the kernel makes for a program cannot be caught one by one; ${filtered ? howToTrace(situation) : `${howToTrace(situation)}, or sysctl vm.unprivileged_userfaultfd=1`}`),
      way('userfaultfd-user-mode', 'userfaultfd, user mode only', openers.syscallUser,
        `no tracking of writes for programs without privileges; ${howToTrace(situation)}`),
      way('userfaultfd-device', `${DEVICE}`, openers.device,
        `no way to userfaultfd but the system call; needs Linux 6.1, and leave to open ${DEVICE} (chmod, or docker run --device ${DEVICE})`),
      way('userfaultfd-device-user-mode', `${DEVICE}, user mode only`, openers.deviceUser,
        `no way to userfaultfd but the system call; needs Linux 6.1, and leave to open ${DEVICE} (chmod, or docker run --device ${DEVICE})`),
      attempt({
        name: 'userfaultfd-sysctl', group: 'tracking', title: 'userfaultfd for every program (vm.unprivileged_userfaultfd)',
        remedy: 'programs without CAP_SYS_PTRACE can be followed in user mode only; sysctl vm.unprivileged_userfaultfd=1', body: sysctlOutcome,
      }),
      ...FEATURES.map(([bit, name, since, loss]) => attempt({
        name: `userfaultfd-feature-${name.toLowerCase().replaceAll('_', '-')}`, group: 'tracking', title: `userfaultfd feature ${name}`,
        remedy: `${loss}; needs Linux ${since}`, body: () => featureOutcome(open, bit, situation),
      })),
    ],
  }
}

/** Linux 6.1. Whoever may open the device may have any userfaultfd; it is of the memory of the process that asks. */
export function openDevice(flags: number): number {
  let device: number
  try {
    device = openSync(DEVICE, 'r+')
  } catch (error) {
    return (error as NodeJS.ErrnoException).errno ?? -errno.EIO
  }
  const file = systemCall(NR.ioctl, device, USERFAULTFD_IOC_NEW, O_CLOEXEC_NONBLOCK | flags)
  closeSync(device)
  return file
}

function openingOutcome(opener: Opener, situation: Situation): Outcome {
  const file = closed(opener())
  if (file >= 0) return works()
  if (file === -errno.ENOSYS) return fails('ENOSYS', 'no tracking of writes, so no precopy; needs a kernel with CONFIG_USERFAULTFD, and a container that allows userfaultfd')
  return fails(`${errnoName(file)}${situation.filtered ? ', under a seccomp filter' : ''}`)
}

function sysctlOutcome(): Outcome {
  const value = readSysctl('vm/unprivileged_userfaultfd')
  if (value === undefined) return fails('cannot be read')
  return value === 1 ? works() : fails(`is ${value}`)
}

/**
 * Asked with features 0, UFFDIO_API tells all features, those that we may not have too; it also uses the file up, so each
 * question takes a fresh one.
 */
function featureOutcome(open: Opener | undefined, bit: number, situation: Situation): Outcome {
  if (open === undefined) return fails('no userfaultfd to ask', `no tracking of writes, so no precopy; ${howToTrace(situation)}`)
  const { result: refused, features } = askFeatures(open, 0)
  if (refused < 0) return fails(`UFFDIO_API: ${errnoName(refused)}`)
  if (Math.floor(features / 2 ** bit) % 2 === 0) return fails('this kernel does not have it')
  const { result } = askFeatures(open, 2 ** bit)
  return result === -errno.EPERM ? fails('EPERM', `a fork of a followed process is not noticed; ${howToTrace(situation)}`) : works()
}

function askFeatures(open: Opener, features: number): { readonly result: number; readonly features: number } {
  const file = open()
  if (file < 0) return { result: file, features: 0 }
  using block = allocateBlock(4096)
  const words = new Uint32Array(block.bytes.buffer)
  putU64(words, 0, UFFDIO_API_VERSION)
  putU64(words, 2, features)
  const result = systemCall(NR.ioctl, file, UFFDIO_API, block.address)
  systemCall(NR.close, file)
  return { result, features: words[2]! }
}

function closed(file: number): number {
  if (file >= 0) systemCall(NR.close, file)
  return file
}
