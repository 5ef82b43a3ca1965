/**
 * tracee/ holds a process still and makes it do things, and undoes all of it: freeze.ts stops and releases threads,
 * helper.ts has a task made inside the process that performs calls for us.
 */
import { TidemarkError } from '../kernel/errors.ts'
import type { Kernel } from '../kernel/kernel.ts'
import type { Registers } from '../kernel/architecture.ts'
import type { SeizeOutcome, TaskStatus } from '../kernel/tasks.ts'

export interface FreezeOptions {
  /** How long to wait for the last thread to stop before giving up and letting all run on. */
  readonly timeoutNs: number
  /** 'any': one thread that stops is enough. */
  readonly threads: 'all' | 'any'
  /** Called again and again while threads are being stopped: lets go on those that wait for us, and so cannot stop. */
  readonly meanwhile?: () => void
}

export interface FrozenThread {
  readonly tid: number
  /** Held by job control: released, it stays stopped. */
  readonly jobStopped: boolean
  /** As the kernel shows them while the thread is stopped: what belongs into an image. */
  readonly registers: Registers
  /** What it will run on with: the same, but for a system call that our stop broke off and that is to be made again. */
  resume: Registers
  /** On its way home by the lifeline: its registers are no longer ours to touch. */
  onLifeline: boolean
}

type NotPromise<T> = T extends PromiseLike<unknown> ? never : T

/** Half a millisecond of asking again at once; threads stop in 0.1 ms, and a sleep would cost 0.05 ms more. */
const SPIN_NS = 500_000
const NAP_NS = 50_000
const OTHER_TRACER_NS = 50_000_000

/**
 * Stops threads of a process, runs `body`, and lets them go, whatever happens. `body` cannot await:
 * while anybody is stopped this thread does nothing else. Blocked system calls go on as if nothing had been.
 *
 * Errors: 'timed-out' when a thread does not stop (uninterruptible sleep, a vfork parent), 'not-permitted', 'gone'.
 */
export function whileStopped<T>(kernel: Kernel, pid: number, options: FreezeOptions, body: (stopped: Stopped) => NotPromise<T>): NotPromise<T> {
  const stopped = new Stopped(kernel, pid)
  try {
    stopped.stop(options)
    return body(stopped)
  } finally {
    stopped.release()
  }
}

/** The threads of one process while they are held. */
export class Stopped {
  readonly pid: number
  readonly threads: FrozenThread[] = []
  /** Threads that work for io_uring inside the kernel; nobody can stop them. */
  readonly kernelWorkers: number[] = []
  /** When the first thread was asked to stop, when the last had, and when the last was let go. */
  startedNs = 0
  frozenNs = 0
  releasedNs = 0
  readonly #kernel: Kernel
  readonly #pending = new Set<number>()
  readonly #known = new Set<number>()
  /** Threads asleep in a call with a timeout, as they were before we woke them. */
  readonly #sleepers = new Map<number, { readonly sleeps: number; readonly sinceNs: number }>()
  /** Of these, the ones that had slept in that call ever since: when it began. */
  readonly #asleepSinceNs = new Map<number, number>()

  constructor(kernel: Kernel, pid: number) {
    this.#kernel = kernel
    this.pid = pid
  }

  stop(options: FreezeOptions): void {
    this.#kernel.clock.settle()
    this.#noteSleepers()
    this.startedNs = this.#kernel.clock.nowNs()
    if (options.threads === 'all') this.#stopAll(options)
    else this.#stopAny(options)
    this.frozenNs = this.#kernel.clock.nowNs()
    if (this.threads.length === 0) throw new TidemarkError('gone', `process ${this.pid} is gone`, { pid: this.pid })
  }

  /** Threads appear while others are being stopped; none can once a whole pass finds no new one. */
  #stopAll(options: FreezeOptions): void {
    for (let fresh = this.#unknownThreads(); fresh.length > 0; fresh = this.#unknownThreads()) {
      for (const tid of fresh) this.#ask(tid)
      this.#awaitPending(options)
    }
  }

  /** One thread at a time: a thread that was asked and never stops could not be let go again before this OS thread ends. */
  #stopAny(options: FreezeOptions): void {
    const { tasks } = this.#kernel
    for (const tid of tasks.threads(this.pid)) {
      if (tasks.describeWait(tid).startsWith('state D') || !this.#ask(tid)) continue
      this.#awaitPending(options)
      if (this.threads.length > 0) return
    }
  }

  #unknownThreads(): number[] {
    return this.#kernel.tasks.threads(this.pid).filter((tid) => !this.#known.has(tid))
  }

  #ask(tid: number): boolean {
    const { tasks } = this.#kernel
    const outcome = this.#seize(tid)
    this.#known.add(tid)
    if (outcome === 'seized') {
      this.#pending.add(tid)
      tasks.interrupt(tid)
      return true
    }
    if (outcome === 'gone') return false
    const why = tasks.whyRefused(this.pid, tid)
    if (why === 'kernel-worker') this.kernelWorkers.push(tid)
    if (why === 'forbidden') throw tasks.refusal(this.pid)
    return false
  }

  /** Another tracer (a second dump, say) may hold the target for some milliseconds: as long as we hold nobody, we wait for it. */
  #seize(tid: number): SeizeOutcome {
    const { clock, tasks } = this.#kernel
    const start = clock.nowNs()
    for (;;) {
      const outcome = tasks.seize(tid)
      const waits = outcome === 'not-permitted' && this.#known.size === 0 && tasks.whyRefused(this.pid, tid) === 'forbidden'
      if (!waits || clock.nowNs() - start > OTHER_TRACER_NS) return outcome
      clock.sleepNs(NAP_NS)
    }
  }

  #awaitPending({ timeoutNs, meanwhile }: FreezeOptions): void {
    const { clock, tasks } = this.#kernel
    const start = clock.nowNs()
    for (;;) {
      for (const tid of this.#pending) {
        const status = tasks.poll(tid)
        if (status !== undefined) this.#settle(tid, status)
      }
      if (this.#pending.size === 0) return
      meanwhile?.()
      const waited = clock.nowNs() - start
      if (waited > timeoutNs) throw this.#wouldNotStop(timeoutNs)
      if (waited > SPIN_NS) clock.sleepNs(NAP_NS)
      else clock.yield()
    }
  }

  /** A signal that was on its way first is delivered first; the thread then stops before it runs anything of its handler. */
  #settle(tid: number, status: TaskStatus): void {
    if (status.kind === 'trap' || status.kind === 'group-stop') {
      this.#pending.delete(tid)
      const registers = readGeneral(this.#kernel, tid)
      if (registers === undefined) return
      this.#noteSleep(tid)
      const thread = { tid, jobStopped: status.kind === 'group-stop', registers, resume: registers, onLifeline: false }
      this.threads.push(thread)
      this.#hideInterruption(thread)
    } else if (status.kind === 'gone') {
      this.#pending.delete(tid)
    } else {
      // Any stop takes back the interrupt that was pending (ptrace_stop(), kernel/signal.c), so it is asked for again.
      this.#kernel.tasks.interrupt(tid)
      this.#kernel.tasks.resume(tid, 'anywhere', status.kind === 'signal' ? status.signal : 0)
    }
  }

  #wouldNotStop(timeoutNs: number): TidemarkError {
    const [tid] = this.#pending
    const where = tid === undefined ? '' : `: thread ${tid} is in ${this.#kernel.tasks.describeWait(tid)}`
    return new TidemarkError('timed-out', `process ${this.pid} did not stop within ${Math.round(timeoutNs / 1e6)} ms${where}`, {
      pid: this.pid, hint: 'a thread in uninterruptible sleep (a slow disk, NFS) or one waiting for its vfork child cannot be stopped: try again later',
    })
  }

  #noteSleepers(): void {
    const { tasks, architecture } = this.#kernel
    const counts = new Map<number, number>()
    for (const tid of tasks.threads(this.pid)) {
      const call = tasks.currentCall(tid)
      const sleeps = call !== undefined && architecture.timedCalls.has(call) ? tasks.sleepCount(tid) : undefined
      if (sleeps !== undefined) counts.set(tid, sleeps)
    }
    for (const [tid, sinceNs] of tasks.lastRanNs([...counts.keys()])) this.#sleepers.set(tid, { sleeps: counts.get(tid)!, sinceNs })
  }

  /** Lets all threads go. Safe to call twice. */
  release(): void {
    const { tasks, clock } = this.#kernel
    for (const thread of this.threads) if (!thread.onLifeline) this.#hideInterruption(thread)
    clock.urgent(true)
    for (const { tid } of this.threads) tasks.detach(tid, 0)
    this.releasedNs = clock.nowNs()
    clock.urgent(false)
    // Those that never stopped stay seized until this OS thread ends, which frees them without a trace.
    this.threads.length = 0
  }

  /**
   * epoll_wait and its kin return EINTR for a stop that no signal explains: the call is to go on instead, with what is left
   * of its timeout where the thread has slept in it undisturbed until we came. Done as soon as the thread has stopped, lest it
   * sees the EINTR when we are killed; and again when it is let go, since by then time has passed.
   */
  #hideInterruption(thread: FrozenThread): void {
    if (thread.jobStopped) return // Its EINTR is that of its own stop signal.
    const resume = thread.registers.slice()
    if (!this.#kernel.architecture.restartInterrupted(resume, this.#blockedNs(thread.tid))) return
    thread.resume = resume
    writeGeneral(this.#kernel, thread.tid, resume)
  }

  /** One sleep more than before: the stop we hold it in. Any further one means that it was a later call that we interrupted. */
  #noteSleep(tid: number): void {
    const before = this.#sleepers.get(tid)
    if (before !== undefined && this.#kernel.tasks.sleepCount(tid) === before.sleeps + 1) {
      this.#asleepSinceNs.set(tid, before.sinceNs)
    }
  }

  #blockedNs(tid: number): number | undefined {
    const since = this.#asleepSinceNs.get(tid)
    return since === undefined ? undefined : this.#kernel.clock.nowNs() - since
  }
}

/** The general registers of a stopped thread; `undefined` when it was killed under us. */
export function readGeneral(kernel: Kernel, tid: number): Registers | undefined {
  const { generalSet, generalBytes } = kernel.architecture
  const block = kernel.scratch
  const read = kernel.tasks.readRegisters(tid, generalSet, block, 0, block.bytes.length)
  if (read === 'gone') return undefined
  if (read !== generalBytes) {
    throw new TidemarkError('unsupported', `thread ${tid} runs in 32-bit mode`, { hint: 'only 64-bit processes can be saved' })
  }
  return new BigUint64Array(block.bytes.slice(0, generalBytes).buffer)
}

export function writeGeneral(kernel: Kernel, tid: number, registers: Registers): void {
  const block = kernel.scratch
  block.bytes.set(new Uint8Array(registers.buffer, registers.byteOffset, registers.byteLength))
  kernel.tasks.writeRegisters(tid, block, 0, registers.byteLength)
}
