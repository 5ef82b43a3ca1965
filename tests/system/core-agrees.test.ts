// A core of ours and gcore's of the same stopped process must be the same to every debugger.
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { address, dump, formatAddress, type DumpOptions } from 'tidemark'
import { countThreads, gdb, openCore, type OpenCore } from '../support/gdb.ts'
import { compileProgram, programMissing, requireProgram, run, startProgram, temporaryFolder, threadStates, until, type RunningProgram } from '../support/programs.ts'
import { VARIED } from '../support/varied-program.ts'

type Strategy = NonNullable<DumpOptions['strategy']>
const STRATEGIES: readonly Strategy[] = ['auto', 'precopy', 'fork', 'stop']
const THREADS = 7

const QUESTIONS: readonly (readonly [string, readonly string[]])[] = [
  ['backtraces', ['thread apply all bt']],
  ['mappings', ['info proc mappings']],
  ['threads', ['info threads']],
  ['registers', ['thread apply all info registers']],
  ['floating point', ['thread apply all info float']],
  ['vectors', ['thread apply all p $xmm0', 'thread apply all p $ymm15', 'thread apply all p $mxcsr']],
  ['auxiliary vector', ['info auxv']],
  ['variables', ['p written', 'p untouched[4096]', 'p alone[5000]', 'p/x *(unsigned long *)heap', 'p (char *)mapped', 'thread apply all p local', 'p/x late_zero[0]']],
]

interface Stopped {
  readonly program: string
  readonly running: RunningProgram
  readonly folder: string
}

async function startVaried(t: TestContext, ...args: readonly string[]): Promise<Stopped> {
  const program = await compileProgram(t, 'varied', VARIED)
  const folder = temporaryFolder(t)
  // Without restartable sequences: into their area the kernel writes the number of the CPU whenever a thread is moved,
  // which a stopped one may be while it makes a call for us or for gdb.
  const running = startProgram(t, 'env', ['GLIBC_TUNABLES=glibc.pthread.rseq=0', program, join(folder, 'mapped-file'), ...args], { folder })
  await running.says('ready\n')
  return { program, running, folder }
}

async function jobStop(pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP')
  await until(() => threadStates(pid).every((state) => state === 'T'), `process ${pid} is job-stopped`)
}

/** It was stopped all the while, goes on when it is told to, and finds nothing wrong with itself. */
async function goesOn({ running }: Stopped): Promise<void> {
  process.kill(running.pid, 'SIGCONT')
  await until(() => !threadStates(running.pid).includes('T'), 'it goes on')
  assert.equal(await running.finish(), 0, running.stdout + running.stderr)
  assert.match(running.stdout, /all is well/)
}

async function gcore(folder: string, pid: number): Promise<string> {
  const { code, stdout, stderr } = await run('gcore', ['-o', join(folder, 'gcore'), String(pid)])
  assert.equal(code, 0, stdout + stderr)
  return join(folder, `gcore.${pid}`)
}

/** What gdb answers, each question apart, without the name of the core and what it says of why the process ended. */
async function answers(program: string, core: string): Promise<Map<string, string>> {
  const commands = QUESTIONS.flatMap(([what, asked]) => [`echo \\n=== ${what}\\n`, ...asked])
  const text = (await gdb(program, core, commands)).split('\n--- stderr ---')[0] ?? ''
  return new Map(text.split('\n=== ').slice(1).map((part) => [part.slice(0, part.indexOf('\n')), part.slice(part.indexOf('\n') + 1).trimEnd()]))
}

/** The writable memory of theirs that ours does not hold, or holds differently. At most ten places are named. */
function differences(ours: OpenCore, theirs: OpenCore): string[] {
  const found: string[] = []
  for (const { start, fileBytes, writable } of theirs.core.segments) {
    if (!writable) continue
    for (let at = 0; at < fileBytes && found.length < 10; at += 4096) {
      const where = address(start + BigInt(at))
      const wanted = theirs.read(where, 4096)
      try {
        if (Buffer.compare(ours.read(where, 4096), wanted) !== 0) found.push(`${formatAddress(where)} differs`)
      } catch (error) {
        found.push(`${formatAddress(where)}: ${String(error)}`)
      }
    }
  }
  return found
}

async function assertNotesInOrder(core: string): Promise<void> {
  const notes = await run(requireProgram('eu-readelf'), ['-n', core])
  assert.equal(notes.code, 0, notes.stderr)
  assert.equal(notes.stderr, '')
  assert.doesNotMatch(notes.stdout, /\?\?\?|<unknown|cannot|invalid|error/i)
  assert.equal(notes.stdout.match(/PRSTATUS/g)?.length, THREADS)
  assert.match(notes.stdout, /mapped-file/)
}

describe('the core of a job-stopped program', { skip: programMissing('cc', 'gdb', 'gcore', 'eu-readelf') }, () => {
  test("is gcore's, to gdb and byte by byte, by every strategy, and the program stays stopped", { timeout: 120_000 }, async (t) => {
    const stopped = await startVaried(t, 'job-stops')
    const { program, running, folder } = stopped
    await jobStop(running.pid)
    const ours = new Map<Strategy, string>()
    for (const strategy of STRATEGIES) {
      const result = await dump(running.pid, { output: join(folder, `${strategy}.core`), strategy })
      t.diagnostic(`${strategy}${strategy === 'auto' ? ` (${result.strategy})` : ''}: pause ${(result.pauseNs / 1e6).toFixed(2)} ms`)
      assert.equal(result.consistency, 'proven', JSON.stringify(result.unproven))
      assert.deepEqual([...new Set(threadStates(running.pid))], ['T'], `still job-stopped after ${strategy}`)
      ours.set(strategy, result.file)
    }
    // Last, for gdb is rougher: it makes the program continue for a moment to attach to it.
    const theirs = await gcore(folder, running.pid)
    const wanted = await answers(program, theirs)
    assert.equal(wanted.size, QUESTIONS.length)
    const theirImage = openCore(t, theirs)
    for (const [strategy, file] of ours) await t.test(`by ${strategy}`, async (sub) => {
      const got = await answers(program, file)
      for (const [what, text] of wanted) await sub.test(`gdb shows the same ${what}`, () => assert.equal(got.get(what), text))
      await sub.test("every byte of gcore's writable memory is there", () => assert.deepEqual(differences(openCore(t, file), theirImage), []))
      await sub.test('eu-readelf finds all notes in order', () => assertNotesInOrder(file))
    })
    process.kill(running.pid, 'SIGSTOP')
    await goesOn(stopped)
  })

  test('that was spoilt is told from a good one', { timeout: 60_000 }, async (t) => {
    const stopped = await startVaried(t, 'job-stops')
    await jobStop(stopped.running.pid)
    const [good, spoilt] = [join(stopped.folder, 'good.core'), join(stopped.folder, 'spoilt.core')]
    await dump(stopped.running.pid, { output: good })
    const counter = BigInt(/heap (0x[0-9a-f]+)/.exec(stopped.running.stdout)?.[1] ?? '')
    const image = openCore(t, good)
    const segment = image.core.segments.find(({ start, memoryBytes }) => start <= counter && counter < start + BigInt(memoryBytes))!
    const bytes = readFileSync(good)
    bytes[segment.fileOffset + Number(counter - segment.start)]! ^= 1
    writeFileSync(spoilt, bytes)
    assert.equal(differences(openCore(t, spoilt), image).length, 1)
    assert.notEqual((await answers(stopped.program, spoilt)).get('variables'), (await answers(stopped.program, good)).get('variables'))
    await goesOn(stopped)
  })
})

test('lldb opens the core of a job-stopped program and lists all threads', { skip: programMissing('cc', 'lldb'), timeout: 60_000 }, async (t) => {
  const stopped = await startVaried(t, 'job-stops')
  await jobStop(stopped.running.pid)
  const output = join(stopped.folder, 'lldb.core')
  await dump(stopped.running.pid, { output, strategy: 'precopy' })
  const { stdout, stderr } = await run('lldb', ['--no-lldbinit', '--batch', '-o', 'thread list', '-o', 'thread backtrace all', stopped.program, '--core', output])
  const text = stdout + stderr
  assert.doesNotMatch(text, /^error:/m)
  assert.equal(new Set(text.match(/thread #\d+: tid = \d+/g)).size, THREADS, text)
  assert.match(text, /`spin_with_avx/)
  await goesOn(stopped)
})

for (const strategy of ['precopy', 'fork'] as const) {
  test(`the core of a running program by ${strategy} has the mappings and threads of gcore's`, { skip: programMissing('cc', 'gdb', 'gcore'), timeout: 60_000 }, async (t) => {
    // gdb's own stop, unlike ours, breaks epoll_wait off: the program is told to put up with that.
    const live = await startVaried(t, 'job-stops')
    const output = join(live.folder, 'live.core')
    const result = await dump(live.running.pid, { output, strategy })
    const theirs = await gcore(live.folder, live.running.pid)
    const commands = ['info proc mappings', 'echo \\n---\\n', 'info threads']
    const [ours, others] = [await gdb(live.program, output, commands), await gdb(live.program, theirs, commands)]
    const mappings = (text: string): string[] => text.split('\n---\n')[0]!.split('\n').filter((line) => /^\s+0x/.test(line))
    assert.deepEqual(mappings(ours), mappings(others))
    assert.ok(mappings(ours).length > 10)
    assert.equal(result.threads, THREADS)
    assert.deepEqual([countThreads(ours), countThreads(others)], [THREADS, THREADS])
    assert.equal(await live.running.finish(), 0, live.running.stdout)
  })
}

/** The kernel breaks epoll_wait off for a job stop, signal(7), and this program counts on it: it looks for SIGCONT between two waits. */
const WAITS_FOR_CONTINUE = `
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
static volatile sig_atomic_t continued;
static void on_continue(int number) { (void)number; continued = 1; }
int main(void) {
  signal(SIGCONT, on_continue);
  int set = epoll_create1(0);
  struct epoll_event event;
  printf("ready\\n");
  fflush(stdout);
  while (!continued) if (epoll_wait(set, &event, 1, -1) != 0 && errno != EINTR) return 1;
  printf("continued\\n");
  return 0;
}
`

for (const strategy of [undefined, ...STRATEGIES]) {
  const when = strategy === undefined ? 'without a dump' : `after a dump by ${strategy}`
  test(`a job-stopped program gets the EINTR of its own stop, ${when}`, { skip: programMissing('cc'), timeout: 60_000 }, async (t) => {
    const running = startProgram(t, await compileProgram(t, 'waits', WAITS_FOR_CONTINUE), [])
    await running.says('ready\n')
    await until(() => threadStates(running.pid)[0] === 'S', 'it waits')
    await jobStop(running.pid)
    if (strategy !== undefined) await dump(running.pid, { output: join(temporaryFolder(t), 'waits.core'), strategy })
    process.kill(running.pid, 'SIGCONT')
    await running.says('continued\n', 5_000)
  })
}
