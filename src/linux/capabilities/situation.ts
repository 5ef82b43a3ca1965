import { userInfo } from 'node:os'
import { readProc, statusLine } from '../proc.ts'

/** include/uapi/linux/capability.h. CHECKPOINT_RESTORE is of Linux 5.9. */
export const CAP = { sysPtrace: 19, sysAdmin: 21, sysNice: 23, checkpointRestore: 40 } as const

/** Who we are and what limits us. Only for explaining a refusal: whether something works is found by trying it. */
export interface Situation {
  readonly user: string
  readonly uid: number
  /** Effective capabilities, in our user namespace: the first namespace may still refuse. */
  readonly capabilities: bigint
  /** A seccomp filter is in force, as in most containers. */
  readonly filtered: boolean
  /** kernel.yama.ptrace_scope; `undefined` without Yama, or when it cannot be read. */
  readonly yamaScope: number | undefined
}

export function readSituation(): Situation {
  const status = readProc('/proc/self/status') ?? ''
  const uid = process.geteuid?.() ?? 0
  return {
    user: userName(uid), uid,
    capabilities: BigInt(`0x${statusLine(status, 'CapEff') ?? '0'}`),
    filtered: statusLine(status, 'Seccomp') === '2',
    yamaScope: readSysctl('kernel/yama/ptrace_scope'),
  }
}

/** A number under /proc/sys; `undefined` when it is not there or hidden. */
export function readSysctl(name: string): number | undefined {
  const text = readProc(`/proc/sys/${name}`)?.trim()
  return text === undefined || !/^-?\d+$/.test(text) ? undefined : Number(text)
}

export function holds(situation: Situation, capability: number): boolean {
  return (situation.capabilities & (1n << BigInt(capability))) !== 0n
}

/** How to get what CAP_SYS_PTRACE gives. */
export function howToTrace(situation: Situation): string {
  if (situation.filtered) return 'a seccomp filter is in force; in a container: docker run --cap-add SYS_PTRACE --security-opt seccomp=unconfined'
  if (holds(situation, CAP.sysPtrace)) return 'CAP_SYS_PTRACE is there, so a security module, a sandbox or another user namespace refuses'
  if (situation.uid === 0) return 'root lacks CAP_SYS_PTRACE here; in a container: docker run --cap-add SYS_PTRACE --security-opt seccomp=unconfined'
  return 'run as root or with CAP_SYS_PTRACE'
}

/** How to get CAP_SYS_NICE, which advice about another process's memory needs. */
export function howToPageOut(situation: Situation): string {
  if (situation.filtered) return 'a seccomp filter is in force; in a container: docker run --cap-add SYS_NICE --security-opt seccomp=unconfined'
  if (holds(situation, CAP.sysNice)) return 'CAP_SYS_NICE is there, so a security module, a sandbox or another user namespace refuses'
  return situation.uid === 0 ? 'in a container: docker run --cap-add SYS_NICE' : 'run as root or with CAP_SYS_NICE'
}

/** Yama, Documentation/admin-guide/LSM/Yama.rst: 1 descendants only, 2 CAP_SYS_PTRACE only, 3 nobody until reboot. */
export function yamaRule(scope: number | undefined): string {
  const rules = ['', 'only descendants may be traced', 'only CAP_SYS_PTRACE may trace', 'nobody may trace until the next boot']
  const rule = rules[scope ?? 0] ?? ''
  return rule === '' ? '' : `kernel.yama.ptrace_scope is ${scope}: ${rule}`
}

/** A container's users are often in no passwd file, and userInfo then throws. */
function userName(uid: number): string {
  try {
    return userInfo().username
  } catch {
    return `uid ${uid}`
  }
}
