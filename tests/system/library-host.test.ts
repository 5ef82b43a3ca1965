// What dumps do to the program that asks for them: nothing that stays, and its children remain its own.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { test } from 'node:test'
import { attach, dump } from 'tidemark'
import { Scratch, sleep, startCli } from '../support/cli.ts'
import { buildFixture, skipTargets, Target } from '../support/fixtures.ts'
import { readTaskState } from '../support/task-state.ts'

const STRATEGIES = ['stop', 'fork', 'precopy'] as const
const MEMORY_KIB_MAX = 128 * 1024

/** A child of this very process, as its user has one: with listeners. */
function spawnChild(): { readonly child: ChildProcess; readonly heard: string[] } {
  const child = spawn(buildFixture('target'), ['1', '1'], { stdio: ['pipe', 'pipe', 'inherit'] })
  const heard: string[] = []
  child.on('exit', (code, signal) => heard.push(`exit ${code} ${signal}`)).on('close', () => heard.push('close')).on('error', (error) => heard.push(error.message))
  return { child, heard }
}

/** Others that end all the time, each with a code of its own: libuv hears of them by the same SIGCHLD. */
function shortLives(): { stop(): Promise<{ readonly ended: number; readonly wrong: string[] }> } {
  let going = true
  let ended = 0
  const wrong: string[] = []
  const done = (async () => {
    for (let i = 0; going; i++) {
      const code = i % 200
      const child = spawn('sh', ['-c', `exit ${code}`], { stdio: 'ignore' })
      const [got, signal] = await once(child, 'exit') as [number | null, string | null]
      ended++
      if (got !== code || signal !== null) wrong.push(`${got} ${signal} instead of ${code}`)
      await sleep(5)
    }
  })()
  return { stop: async () => { going = false; await done; return { ended, wrong } } }
}

function ownFds(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)]
    } catch {
      return [] // The one that listed them.
    }
  }).map((link) => link.replace(/:\[\d+\]/, '')).filter((link) => !link.startsWith('/proc/')).toSorted()
}

function ownListeners(): Record<string, number> {
  return Object.fromEntries(process.eventNames().map((name) => [String(name), process.listenerCount(name)]))
}

test('a child of this Node is dumped 100 times: Node never takes a stop of it for its end, and nothing of us stays here', { skip: skipTargets }, async (t) => {
  using scratch = new Scratch()
  const { child, heard } = spawnChild()
  const controller = new AbortController()
  const warnings: string[] = []
  const onWarning = (warning: Error): void => void warnings.push(warning.message)
  process.on('warning', onWarning)
  const optionsOf = (i: number) => ({ output: scratch.file('x.core'), replace: true, strategy: STRATEGIES[i % 3]!, signal: controller.signal })
  try {
    await once(child.stdout!, 'data')
    await sleepingOthers() // What Node opens once for all is open then.
    await dump(child.pid!, optionsOf(0))
    const before = ownState()
    const others = shortLives()
    {
      await using attached = await attach(child.pid!)
      for (let i = 0; i < 50; i++) await attached.dump(optionsOf(i))
    }
    for (let i = 0; i < 50; i++) {
      await dump(child.pid!, optionsOf(i))
      if (i % 10 === 0) await assert.rejects(dump(child.pid!, { ...optionsOf(i), output: '/nonexistent/x.core' }))
    }
    const { ended, wrong } = await others.stop()
    await sleep(100)
    const after = ownState()
    t.diagnostic(`${ended} other children ended meanwhile; ${after.mappings - before.mappings} more mappings`)
    assert.deepEqual(wrong, [])
    assert.deepEqual(heard, [])
    assert.deepEqual([child.exitCode, child.signalCode], [null, null])
    // V8's heap comes and goes, by up to 50 of them; one mapping of ours for each dump would show.
    assert.ok(after.mappings - before.mappings < 90, `${after.mappings - before.mappings} more mappings`)
    assert.deepEqual({ ...after, mappings: 0 }, { ...before, mappings: 0 })
    assert.deepEqual(warnings, [], 'such as MaxListenersExceededWarning')
  } finally {
    process.off('warning', onWarning)
    const gone = once(child, 'exit')
    child.kill('SIGTERM')
    await gone
  }
  assert.equal(heard[0], 'exit null SIGTERM', 'and its real end is heard')
})

async function sleepingOthers(): Promise<void> {
  const others = shortLives()
  await sleep(50)
  await others.stop()
}

function ownState() {
  const { children, mappings } = readTaskState(process.pid)
  return { fds: ownFds(), children: children.map(({ name }) => name), listeners: ownListeners(), mappings: mappings.length }
}

/** The most that a process and its children each had resident, by asking until they are gone. */
async function watchMemory(pid: number, until: Promise<unknown>): Promise<Map<string, number>> {
  const most = new Map<string, number>()
  let going = true
  void until.then(() => { going = false })
  while (going) {
    for (const candidate of [pid, ...childrenOf(pid)]) {
      try {
        const status = readFileSync(`/proc/${candidate}/status`, 'utf8')
        const kib = Number(/^VmHWM:\s*(\d+)/m.exec(status)?.[1] ?? 0)
        const name = readFileSync(`/proc/${candidate}/cmdline`, 'utf8').split('\0').find((word) => word.endsWith('.js'))?.split('/').at(-1) ?? String(candidate)
        most.set(name, Math.max(kib, most.get(name) ?? 0))
      } catch {
        continue // It has just ended.
      }
    }
    await sleep(10)
  }
  return most
}

function childrenOf(pid: number): number[] {
  try {
    return readTaskState(pid).children.map((child) => child.pid)
  } catch {
    return []
  }
}

test('saving 1 GiB takes less than 128 MiB of our own', { skip: skipTargets }, async (t) => {
  await using target = await Target.start({ mib: 1024 })
  for (const strategy of STRATEGIES) {
    using scratch = new Scratch()
    const running = startCli(['dump', String(target.pid), '--strategy', strategy, '-o', scratch.file('x.core')])
    const most = await watchMemory(running.pid, running.done)
    const { code, stderr } = await running.done
    assert.equal(code, 0, stderr)
    t.diagnostic(`${strategy}: ${[...most].map(([name, kib]) => `${name} ${Math.round(kib / 1024)} MiB`).join(', ')}`)
    assert.ok(most.size > 0)
    // A fork of the target is the target's, and shows under its own name.
    for (const [name, kib] of most) if (name.endsWith('.js')) assert.ok(kib < MEMORY_KIB_MAX, `${strategy}: ${name} had ${kib} KiB`)
    await target.assertUnharmed()
  }
})
