// Processes that cannot be saved, or not by us. Every refusal leaves the process as it was.
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { dump, isTidemarkError } from 'tidemark'
import { assertRefused, isRoot, runCli, Scratch, sleep } from '../support/cli.ts'
import { installForAll } from '../support/cli-for-all.ts'
import { skipTargets, skipWithout, stateOf, Target, tracerPidOf, writePause32 } from '../support/fixtures.ts'
import { readTaskState, untilTaskState } from '../support/task-state.ts'

function kernelThread(): number | undefined {
  return readdirSync('/proc').map(Number).find((pid) => {
    if (!Number.isInteger(pid)) return false
    try {
      return /^Kthread:\s*1/m.test(readFileSync(`/proc/${pid}/status`, 'utf8')) || /^2 \(kthreadd\)/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
    } catch {
      return false
    }
  })
}

test('a process that is gone is exit code 5', async () => {
  using scratch = new Scratch()
  const { pid } = spawnSync('true')
  assertRefused(await runCli(['dump', String(pid), '-o', scratch.file('x.core')]), 5, new RegExp(`no process ${pid}`))
  scratch.assertHolds()
})

test('a kernel thread is refused by name', async (t) => {
  const pid = kernelThread()
  if (pid === undefined) return t.skip('no kernel thread is visible here')
  using scratch = new Scratch()
  assertRefused(await runCli(['dump', String(pid), '-o', scratch.file('x.core')]), 1, /kernel thread \(.+\)/)
  scratch.assertHolds()
})

test('a zombie is a process that is gone', { skip: skipTargets }, async () => {
  using scratch = new Scratch()
  await using parent = await Target.start()
  const zombie = Number((await parent.ask('zombie')).split(' ')[1])
  await untilTaskState(parent.pid, ({ children }) => children.some(({ pid, state }) => pid === zombie && state === 'Z'))
  parent.remember()
  assertRefused(await runCli(['dump', String(zombie), '-o', scratch.file('x.core')]), 5, /zombie/)
  scratch.assertHolds()
  await parent.assertUnharmed()
  assert.equal(stateOf(zombie), 'Z', 'we have not waited for it in its parent\'s stead')
})

test('the tool does not save itself', async () => {
  using scratch = new Scratch()
  const before = ['bash', '-c', 'exec "$@" $$', 'bash']
  // `exec` keeps the pid: what $$ was is what node is then.
  assertRefused(await runCli(['dump', '-o', scratch.file('x.core')], { before }), 2, /tidemark itself/)
  scratch.assertHolds()
})

test('a program that asks for a dump of itself gets a whole one or a refusal, and runs on', async () => {
  using scratch = new Scratch()
  const error = await dump(process.pid, { output: scratch.file('x.core') }).then(() => undefined, (reason: unknown) => reason)
  if (error !== undefined) assert.ok(isTidemarkError(error) && error.code === 'usage' && error.pid === process.pid, String(error))
  scratch.assertHolds(...(error === undefined ? ['x.core'] : []))
  assert.equal(tracerPidOf(process.pid), 0)
})

test('the id of a thread is refused with the process it belongs to', { skip: skipTargets }, async () => {
  using scratch = new Scratch()
  await using target = await Target.start()
  const tid = readTaskState(target.pid).threads.find((thread) => thread.tid !== target.pid)?.tid
  assertRefused(await runCli(['dump', String(tid), '-o', scratch.file('x.core')]), 2, new RegExp(`${tid} is a thread of process ${target.pid} \\(use ${target.pid}\\)`))
  scratch.assertHolds()
  await target.assertUnharmed()
})

test('a process in a debugger is refused with the debugger\'s name, and stays in it', { skip: skipTargets || skipWithout('gdb') }, async () => {
  using scratch = new Scratch()
  await using target = await Target.start()
  const gdb = spawn('gdb', ['-q', '-nx', '-batch', '-ex', 'shell sleep 60', '-p', String(target.pid)], { stdio: 'ignore', detached: true })
  try {
    for (let i = 0; i < 500 && (tracerPidOf(target.pid) === 0 || readTaskState(target.pid).threads.some(({ state }) => state !== 't')); i++) await sleep(20)
    assert.equal(tracerPidOf(target.pid), gdb.pid)
    for (const strategy of ['auto', 'stop']) {
      assertRefused(await runCli(['dump', String(target.pid), '--strategy', strategy, '-o', scratch.file('x.core')]), 3, new RegExp(`traced by process ${gdb.pid} \\(gdb\\)`))
    }
    assert.equal(tracerPidOf(target.pid), gdb.pid)
    assert.equal(stateOf(target.pid), 't')
  } finally {
    const gone = once(gdb, 'exit')
    // With its sleep: a group of its own.
    process.kill(-gdb.pid!, 'SIGKILL')
    await gone
  }
  scratch.assertHolds()
})

test('a 32-bit process is what this kernel cannot', async (t) => {
  if (process.arch !== 'x64') return t.skip('the hand-made program is for x86')
  using scratch = new Scratch()
  const program = scratch.file('pause32')
  writePause32(program)
  // A kernel without IA32 emulation answers ENOEXEC, and the shell then reads the program as a script and fails.
  const trial = spawn(program, [], { stdio: 'ignore' })
  const failed = await Promise.race([once(trial, 'error').then(([error]) => error as NodeJS.ErrnoException), sleep(100).then(() => undefined)])
  if (failed !== undefined) return t.skip(`this kernel does not run 32-bit programs: ${failed.code}`)
  const gone = once(trial, 'exit')
  try {
    for (const strategy of ['auto', 'stop', 'fork', 'precopy']) {
      assertRefused(await runCli(['dump', String(trial.pid), '--strategy', strategy, '-o', scratch.file('x.core')]), 4, /32-bit/)
    }
    assert.equal(stateOf(trial.pid!), 'S')
    assert.equal(tracerPidOf(trial.pid!), 0)
  } finally {
    trial.kill('SIGKILL')
    await gone
  }
  scratch.assertHolds('pause32')
})

test('another user\'s process is not permitted, and the line says what would help', { skip: !isRoot && 'only root can be another user' || skipTargets }, async (t) => {
  const installed = installForAll()
  t.after(() => installed[Symbol.dispose]())
  using scratch = new Scratch()
  await using target = await Target.start()
  for (const strategy of ['auto', 'stop', 'fork', 'precopy']) {
    const result = await runCli(['dump', String(target.pid), '--strategy', strategy, '-o', '/tmp/never.core'], { uid: 65534, program: installed.program, cwd: '/' })
    assertRefused(result, 3, /not permitted to trace process \d+ \(.*root.*CAP_SYS_PTRACE.*\)/)
  }
  await target.assertUnharmed()
  scratch.assertHolds()
})

test('a stopped process (Ctrl-Z) is saved, and stays stopped until somebody continues it', { skip: skipTargets }, async () => {
  using scratch = new Scratch()
  await using target = await Target.start()
  process.kill(target.pid, 'SIGSTOP')
  await untilTaskState(target.pid, ({ threads }) => threads.every(({ state }) => state === 'T'))
  const { code, stderr } = await runCli(['dump', String(target.pid), '-o', scratch.file('x.core')])
  assert.equal(code, 0, stderr)
  assert.equal(stateOf(target.pid), 'T')
  process.kill(target.pid, 'SIGCONT')
  await target.assertUnharmed()
})

