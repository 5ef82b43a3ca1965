import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** One thread as /proc shows it. `state` is the kernel's letter: R, S, D, T (stopped), t (traced), Z, X, I. */
export interface ThreadState {
  readonly tid: number
  readonly state: string
  readonly tracerPid: number
  readonly signalsBlocked: string
  readonly seccomp: string
}

/** What a tool could have left behind in a process, all at one look (not one instant). */
export interface TaskState {
  readonly pid: number
  readonly threads: readonly ThreadState[]
  /** Some thread has a tracer. */
  readonly traced: boolean
  /** Some thread is stopped, by a tracer or by job control. */
  readonly stopped: boolean
  /** With zombies, which have the state Z. */
  readonly children: readonly { readonly pid: number; readonly state: string; readonly name: string }[]
  /** What each fd refers to, as `number target`. */
  readonly fds: readonly string[]
  readonly mappings: readonly string[]
  /** Mappings that are registered with some userfaultfd, with their flags (um, uw, ui). */
  readonly armedMappings: readonly string[]
}

/** Precondition: the process exists. Throws ENOENT or ESRCH when it goes away. */
export function readTaskState(pid: number): TaskState {
  const threads = tids(pid).map((tid) => readThread(pid, tid)).filter((thread) => thread !== undefined)
  // A leader that has exited has neither memory nor files, though its threads share them still.
  const live = threads.find((thread) => thread.state !== 'Z' && thread.state !== 'X')
  const folder = `/proc/${pid}/task/${live?.tid ?? pid}`
  return {
    pid,
    threads,
    traced: threads.some((thread) => thread.tracerPid !== 0),
    stopped: threads.some((thread) => thread.state === 'T' || thread.state === 't'),
    children: childrenOf(pid),
    fds: live === undefined ? [] : readFds(`${folder}/fd`),
    mappings: lines(`${folder}/maps`),
    armedMappings: readArmedMappings(`${folder}/smaps`),
  }
}

/** Whether a process is there at all, and not merely its zombie. */
export function isAlive(pid: number): boolean {
  const stat = readStat(pid)
  return stat !== undefined && stat.state !== 'Z' && stat.state !== 'X'
}

/**
 * What is there after and was not before, as sentences: empty if nothing was left behind. For a
 * process that itself makes mappings or children meanwhile, compare when it has come to rest.
 */
export function leftBehind(before: TaskState, after: TaskState): string[] {
  const left: string[] = []
  for (const { tid, tracerPid, state } of after.threads) {
    if (tracerPid !== 0) left.push(`thread ${tid} is traced by ${tracerPid}`)
    const was = before.threads.find((thread) => thread.tid === tid)
    const wasStopped = was !== undefined && isStopped(was.state)
    if (isStopped(state) && !wasStopped) left.push(`thread ${tid} is stopped (${state})`)
    if (!isStopped(state) && wasStopped) left.push(`thread ${tid} was stopped and is not`)
  }
  const blockedBefore = new Map(before.threads.map((thread) => [thread.tid, thread.signalsBlocked]))
  for (const { tid, signalsBlocked } of after.threads) {
    const was = blockedBefore.get(tid)
    if (was !== undefined && was !== signalsBlocked) left.push(`thread ${tid} blocks signals ${signalsBlocked} and not ${was}`)
  }
  left.push(...added('fd', before.fds, after.fds))
  left.push(...added('mapping', before.mappings.map(placeOf), after.mappings.map(placeOf)))
  left.push(...added('userfaultfd mapping', before.armedMappings, after.armedMappings))
  const known = new Set(before.children.map((child) => child.pid))
  for (const child of after.children) {
    if (!known.has(child.pid)) left.push(`child ${child.pid} (${child.name}, ${child.state})`)
  }
  return left
}

/** Waits until a look at the process pleases. */
export async function untilTaskState(pid: number, pleases: (state: TaskState) => boolean, withinMs = 10_000): Promise<TaskState> {
  const deadline = performance.now() + withinMs
  for (;;) {
    const state = readTaskState(pid)
    if (pleases(state)) return state
    if (performance.now() > deadline) {
      const seen = state.threads.map((thread) => `${thread.tid}:${thread.state}`).join(' ')
      throw new Error(`process ${pid} did not get there within ${withinMs} ms: ${seen}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

function isStopped(state: string): boolean {
  return state === 'T' || state === 't'
}

/** Every line a multiset member: a second fd on the same file counts too. */
function added(what: string, before: readonly string[], after: readonly string[]): string[] {
  const rest = new Map<string, number>()
  for (const item of before) rest.set(item, (rest.get(item) ?? 0) + 1)
  return after
    .filter((item) => {
      const count = rest.get(item) ?? 0
      rest.set(item, count - 1)
      return count <= 0
    })
    .map((item) => `${what} ${item}`)
}

/** Without device and inode, which say nothing more. */
function placeOf(line: string): string {
  const [range, perms, offset, , , ...path] = line.split(/\s+/)
  return [range, perms, offset, ...path].join(' ')
}

function tids(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).map(Number)
}

/** Undefined where the thread went away under our eyes. */
function readThread(pid: number, tid: number): ThreadState | undefined {
  let status: string
  try {
    status = readFileSync(`/proc/${pid}/task/${tid}/status`, 'utf8')
  } catch {
    return undefined
  }
  const field = (name: string) => new RegExp(`^${name}:\\s*(\\S+)`, 'm').exec(status)?.[1] ?? ''
  return { tid, state: field('State'), tracerPid: Number(field('TracerPid')), signalsBlocked: field('SigBlk'), seccomp: field('Seccomp') }
}

function readStat(pid: number): { readonly name: string; readonly state: string; readonly parent: number } | undefined {
  let text: string
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    return undefined
  }
  // The name stands in brackets and may hold brackets and spaces itself.
  const end = text.lastIndexOf(')')
  const [state = '', parent = '0'] = text.slice(end + 2).split(' ')
  return { name: text.slice(text.indexOf('(') + 1, end), state, parent: Number(parent) }
}

/** Through all of /proc: task/TID/children needs an option of the kernel and forgets some under way. */
function childrenOf(pid: number): TaskState['children'] {
  const children: { pid: number; state: string; name: string }[] = []
  for (const entry of readdirSync('/proc')) {
    const candidate = Number(entry)
    if (!Number.isInteger(candidate)) continue
    const stat = readStat(candidate)
    if (stat?.parent === pid) children.push({ pid: candidate, state: stat.state, name: stat.name })
  }
  return children
}

function readFds(folder: string): string[] {
  return readdirSync(folder).map((fd) => {
    try {
      return `${fd} ${readlinkSync(`${folder}/${fd}`)}`
    } catch {
      return `${fd} (gone)`
    }
  })
}

function readArmedMappings(smaps: string): string[] {
  const armed: string[] = []
  let range = ''
  for (const line of lines(smaps)) {
    if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) range = line.split(' ', 1)[0] ?? ''
    const flags = /^VmFlags: (.*)$/.exec(line)?.[1]?.split(' ').filter((flag) => flag === 'um' || flag === 'uw' || flag === 'ui')
    if (flags !== undefined && flags.length > 0) armed.push(`${range} ${flags.join(' ')}`)
  }
  return armed
}

function lines(path: string): string[] {
  return readFileSync(path, 'utf8').split('\n').filter((line) => line !== '')
}
