import type { Tasks } from '../../kernel/tasks.ts'
import type { Capability } from '../capabilities.ts'
import { allocateBlock } from '../block.ts'
import { callFailed, errnoName } from '../errno.ts'
import { systemCall } from '../ffi.ts'
import { NR } from '../system-calls.ts'
import { attempt, fails, onChild, works, type Outcome } from './attempt.ts'
import { CAP, holds, howToTrace, yamaRule, type Situation } from './situation.ts'

const NT_PRSTATUS = 1
const STOP_MS = 1000
const SCHED_OTHER = 0
const SCHED_FIFO = 1

export function probeTracing(tasks: Tasks, child: number | undefined, situation: Situation): Capability[] {
  const group = 'tracing'
  const trace = howToTrace(situation)
  return [
    attempt({
      name: 'ptrace', group, title: 'Stop a process and read its registers (ptrace)',
      remedy: `nothing can be saved without it; ${yamaRule(situation.yamaScope) || trace}`,
      body: onChild(child, (pid) => stopChild(tasks, pid, situation)),
    }),
    attempt({
      name: 'ptrace-strangers', group, title: 'Processes that we did not start',
      remedy: `only processes that tidemark itself starts can be saved; ${yamaRule(situation.yamaScope) ? 'sysctl kernel.yama.ptrace_scope=0, or ' : ''}${trace}`,
      body: () => mayTrace('ours', situation),
    }),
    attempt({
      name: 'ptrace-other-users', group, title: 'Processes of other users',
      remedy: `only your own processes can be saved; ${trace}`,
      body: () => mayTrace('others', situation),
    }),
    attempt({
      name: 'pidfd-getfd', group, title: 'Take over a file of a process (pidfd_getfd)',
      remedy: `no tracking of writes, so no precopy; needs Linux 5.6, and to be allowed to trace; ${trace}`,
      body: onChild(child, takeFile),
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
  if (outcome === 'gone') return fails('a child of ours ended')
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
 * The one answer here that is reasoned out and not tried: to try it would be to open a process that is not ours, which
 * a mere look at the machine must not do. What no file tells (a security module, another user namespace) a dump then says.
 */
function mayTrace(whose: 'ours' | 'others', situation: Situation): Outcome {
  const scope = situation.yamaScope ?? 0
  if (scope < 3 && holds(situation, CAP.sysPtrace)) return works('CAP_SYS_PTRACE')
  if (whose === 'ours' && scope === 0) return works()
  return fails(yamaRule(whose === 'ours' || scope === 3 ? scope : 0) || 'CAP_SYS_PTRACE is missing')
}

/** Its standard input, though whichever file is open would do. */
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
