import { closeSync, openSync, statSync } from 'node:fs'
import type { Tasks } from '../../kernel/tasks.ts'
import type { Capability } from '../capabilities.ts'
import { allocateBlock } from '../block.ts'
import { callFailed, errnoName } from '../errno.ts'
import { systemCall } from '../ffi.ts'
import { listProc, readStat } from '../proc.ts'
import { NR } from '../system-calls.ts'
import { attempt, fails, works, type Outcome } from './attempt.ts'
import { CAP, holds, howToTrace, yamaRule, type Situation } from './situation.ts'

const NT_PRSTATUS = 1
const STOP_MS = 1000
const PF_KTHREAD = 0x20_0000
const SCHED_OTHER = 0
const SCHED_FIFO = 1

export function probeTracing(tasks: Tasks, child: number, situation: Situation): Capability[] {
  const group = 'tracing'
  const trace = howToTrace(situation)
  return [
    attempt({
      name: 'ptrace', group, title: 'Stop a process and read its registers (ptrace)',
      remedy: `nothing can be saved without it; ${yamaRule(situation.yamaScope) || trace}`,
      body: () => stopChild(tasks, child, situation),
    }),
    attempt({
      name: 'ptrace-strangers', group, title: 'Open processes we did not start',
      remedy: `only processes that tidemark itself starts can be saved; ${yamaRule(situation.yamaScope) ? 'sysctl kernel.yama.ptrace_scope=0, or ' : ''}${trace}`,
      body: () => openStranger('ours', situation),
    }),
    attempt({
      name: 'ptrace-other-users', group, title: 'Open processes of other users',
      remedy: `only your own processes can be saved; ${trace}`,
      body: () => openStranger('others', situation),
    }),
    attempt({
      name: 'pidfd-getfd', group, title: 'Take over a file of a process (pidfd_getfd)',
      remedy: `no tracking of writes, so no precopy; needs Linux 5.6, and to be allowed to trace; ${trace}`,
      body: () => takeFile(child),
    }),
    attempt({
      name: 'urgent', group, title: 'Run undisturbed in the pause (SCHED_FIFO)',
      remedy: 'a pause is now and then some milliseconds longer on a busy machine; run as root or with CAP_SYS_NICE, ulimit -r 1, or docker run --cap-add SYS_NICE',
      body: beUrgent,
    }),
  ]
}

function stopChild(tasks: Tasks, pid: number, situation: Situation): Outcome {
  const outcome = tasks.seize(pid)
  if (outcome === 'gone') return fails('no child could be started to try it on')
  if (outcome === 'not-permitted') return fails(`PTRACE_SEIZE of a child of ours: EPERM${situation.filtered ? ', under a seccomp filter' : ''}`)
  tasks.interrupt(pid)
  const deadline = performance.now() + STOP_MS
  while (tasks.poll(pid)?.kind !== 'trap') {
    if (performance.now() > deadline) return fails(`a child of ours did not stop within ${STOP_MS} ms`)
    systemCall(NR.schedYield)
  }
  using registers = allocateBlock(4096)
  const read = tasks.readRegisters(pid, NT_PRSTATUS, registers, 0, 4096)
  tasks.detach(pid, 0)
  return read === 'gone' || read === 0 ? fails('the registers of a stopped child cannot be read (PTRACE_GETREGSET)') : works()
}

/**
 * Opening /proc/PID/mem asks exactly what attaching does, Yama and other modules included (proc_mem_open,
 * PTRACE_MODE_ATTACH), and does nothing to the process.
 */
function openStranger(whose: 'ours' | 'others', situation: Situation): Outcome {
  const pid = findStranger(whose === 'ours' ? (uid) => uid === situation.uid : (uid) => uid !== situation.uid)
  if (pid === undefined) return withoutStranger(whose, situation)
  try {
    closeSync(openSync(`/proc/${pid}/mem`, 'r+'))
    return works()
  } catch (error) {
    const rule = whose === 'ours' ? yamaRule(situation.yamaScope) : ''
    return fails(`/proc/${pid}/mem: ${(error as NodeJS.ErrnoException).code}${rule === '' ? '' : `; ${rule}`}`)
  }
}

/** The one answer here that had to be reasoned out. */
function withoutStranger(whose: 'ours' | 'others', situation: Situation): Outcome {
  const may = holds(situation, CAP.sysPtrace) || (whose === 'ours' && (situation.yamaScope ?? 0) === 0)
  const untried = 'not tried: there is no such process here'
  if (may) return works(untried)
  return fails(`${untried}; ${(whose === 'ours' ? yamaRule(situation.yamaScope) : '') || 'CAP_SYS_PTRACE is missing'}`)
}

/** Any process with memory of its own that does not descend from us. Its directory belongs to its user, or to root if it is not dumpable. */
function findStranger(wanted: (uid: number) => boolean): number | undefined {
  const parents = new Map<number, number>()
  const candidates: number[] = []
  for (const pid of listProc('/proc').filter((name) => /^\d+$/.test(name)).map(Number)) {
    const fields = readStat(`/proc/${pid}/stat`)?.fields
    if (fields === undefined) continue
    parents.set(pid, Number(fields[1]))
    const alive = fields[0] !== 'Z' && fields[0] !== 'X' && (Number(fields[6]) & PF_KTHREAD) === 0
    if (alive && wanted(statSync(`/proc/${pid}`, { throwIfNoEntry: false })?.uid ?? -1)) candidates.push(pid)
  }
  return candidates.find((pid) => !descendsFromUs(pid, parents))
}

function descendsFromUs(pid: number, parents: ReadonlyMap<number, number>): boolean {
  for (let at: number | undefined = pid; at !== undefined && at > 0; at = parents.get(at)) if (at === process.pid) return true
  return false
}

/** Its standard input: any open file would do. */
function takeFile(pid: number): Outcome {
  const handle = systemCall(NR.pidfdOpen, pid, 0)
  if (handle < 0) throw callFailed('pidfd_open', handle)
  const file = systemCall(NR.pidfdGetfd, handle, 0, 0)
  systemCall(NR.close, handle)
  if (file < 0) return fails(`pidfd_getfd: ${errnoName(file)}`)
  systemCall(NR.close, file)
  return works()
}

/** For this thread only, and back at once. */
function beUrgent(): Outcome {
  using parameter = allocateBlock(4096)
  parameter.bytes[0] = 1
  const result = systemCall(NR.schedSetscheduler, 0, SCHED_FIFO, parameter.address)
  if (result < 0) return fails(`sched_setscheduler: ${errnoName(result)}`)
  parameter.bytes[0] = 0
  systemCall(NR.schedSetscheduler, 0, SCHED_OTHER, parameter.address)
  return works()
}
