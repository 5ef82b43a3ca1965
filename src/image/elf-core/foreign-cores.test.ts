/** Cores that others made, read by us, and cores of ours, read by others. */
import assert from 'node:assert/strict'
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, fstatSync, mkdtempSync, openSync, readdirSync, readFileSync, readSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test, type TestContext } from 'node:test'
import { address } from '../../memory/address.ts'
import type { Core, CoreThread } from './core.ts'
import { fileOf, pattern, sampleCore } from './core-samples.test.ts'
import type { CoreSource } from './core-source.ts'
import { decodeCore } from './decode.ts'
import { encodeCore } from './encode.ts'
import { readCoreMemory } from './read-core-memory.ts'

const directory = mkdtempSync(join(tmpdir(), 'tidemark-core-'))
after(() => rmSync(directory, { recursive: true }))

/** Three threads, and 64 bytes whose place it prints. */
const GUEST = `
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static unsigned char known[64];
static void *wait_for_ever(void *unused) { for (;;) pause(); return unused; }
int main(void) {
  pthread_t t;
  for (int i = 0; i < 64; i++) known[i] = 1 + i * 7;
  pthread_create(&t, 0, wait_for_ever, 0);
  pthread_create(&t, 0, wait_for_ever, 0);
  usleep(100000);
  printf("%p\\n", (void *)known);
  fflush(stdout);
  wait_for_ever(0);
}
`

/** Whether the tools are there; if not, the test is skipped with the reason. */
function haveTools(t: TestContext, tools: readonly string[]): boolean {
  const missing = tools.find((tool) => spawnSync(tool, ['--version']).error !== undefined)
  if (missing !== undefined) t.skip(`${missing} is not installed`)
  return missing === undefined
}

async function startGuest(): Promise<{ guest: ChildProcess; known: bigint; pid: number }> {
  const program = join(directory, 'guest')
  writeFileSync(`${program}.c`, GUEST)
  assert.equal(spawnSync('gcc', ['-pthread', '-o', program, `${program}.c`]).status, 0)
  const guest = spawn('sh', ['-c', `ulimit -c unlimited; exec ${program}`], { cwd: directory, stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = await once(guest.stdout!, 'data') as [Buffer]
  return { guest, known: BigInt(line.toString().trim()), pid: guest.pid! }
}

async function kill(guest: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const exit = once(guest, 'exit')
  guest.kill(signal)
  await exit
}

function withFile<T>(path: string, body: (source: CoreSource) => T): T {
  const fd = openSync(path, 'r')
  try {
    return body({
      bytes: fstatSync(fd).size,
      read(offset, length) {
        const bytes = Buffer.alloc(length)
        return bytes.subarray(0, readSync(fd, bytes, 0, length, offset))
      },
    })
  } finally {
    closeSync(fd)
  }
}

function x86Register(thread: CoreThread, index: number): bigint {
  return new DataView(thread.registers.buffer, thread.registers.byteOffset).getBigUint64(index * 8, true)
}

/** What elfutils says of the notes must be what we say. Registers are compared on x86-64: 16 is rip, 19 rsp, 21 fs_base. */
function agreesWithElfutils(core: Core, path: string): void {
  const run = spawnSync('eu-readelf', ['-n', path], { encoding: 'utf8' })
  assert.equal(run.stderr, '')
  const all = (expression: RegExp): string[] => [...run.stdout.matchAll(expression)].map((match) => match.slice(1).join(' '))
  const [[processIds = ''], threadIds] = [all(/gid: \d+, pid: (\d+), ppid: (\d+), pgrp: (\d+), sid: (\d+)/g), all(/^ {4}pid: (\d+), ppid/gm)]
  assert.equal(processIds, `${core.process.pid} ${core.process.ppid} ${core.process.pgid} ${core.process.sid}`)
  assert.deepEqual(threadIds, core.threads.map((thread) => String(thread.tid)))
  assert.deepEqual(all(/fname: (\S+),/g), [core.process.name])
  const auxvPageBytes = all(/PAGESZ: (\d+)/g)
  assert.deepEqual(auxvPageBytes, [String(core.pageBytes)])
  const hex = (value: bigint): string => value.toString(16).padStart(8, '0')
  const files = core.files.map((file) => `${hex(file.start)} ${hex(file.end)} ${hex(BigInt(file.pageOffset * core.pageBytes))} ${file.path}`)
  assert.deepEqual(all(/^ {6}([0-9a-f]+)-([0-9a-f]+) ([0-9a-f]+) \d+ +(\/.*)$/gm), files)
  if (core.machine !== 'x86-64') return
  const registers = core.threads.map((thread) => [16, 19, 21].map((i) => `0x${x86Register(thread, i).toString(16).padStart(16, '0')}`).join(' '))
  assert.deepEqual(all(/rip: +(0x\w+)[^]*?rsp: +(0x\w+)[^]*?fs.base: +(0x\w+)/g), registers)
  const owners = all(/^ {2}(CORE|LINUX) +\d+ {2}(?:FPREGSET|X86_XSTATE|386_\w+|ARM_\w+|<unknown>: 516)$/gm)
  assert.deepEqual(core.threads.flatMap((thread) => thread.sets.map((set) => set.owner)), owners)
}

function isTheGuest(core: Core, source: CoreSource, guest: { pid: number; known: bigint }): void {
  assert.equal(core.process.pid, guest.pid)
  assert.equal(core.process.name, 'guest')
  assert.equal(core.threads.length, 3)
  assert.deepEqual(new Uint8Array(readCoreMemory(core, source, address(guest.known), 64)), pattern(64, 1))
}

/** Encodes what was decoded, in a file of its own with the same memory: the copy must say the same. */
function survivesUs(core: Core, source: CoreSource, known: bigint): void {
  const path = join(directory, 'ours')
  const saved = core.segments.filter((segment) => segment.fileBytes > 0)
  const tailOffset = Math.max(...saved.map((segment) => segment.fileOffset + segment.fileBytes))
  const { header, tail } = encodeCore(core, tailOffset)
  writeFileSync(path, Buffer.concat([header, source.read(64, tailOffset - 64), tail]))
  agreesWithElfutils(core, path)
  withFile(path, (ours) => {
    assert.deepEqual(decodeCore(ours), core)
    assert.deepEqual(readCoreMemory(core, ours, address(known), 64), readCoreMemory(core, source, address(known), 64))
  })
}

test('a core made by gcore decodes to what elfutils says, and survives our encoding', async (t) => {
  if (!haveTools(t, ['gcc', 'gdb', 'gcore', 'eu-readelf'])) return
  const started = await startGuest()
  try {
    const run = spawnSync('gcore', ['-o', join(directory, 'gcore'), String(started.pid)], { encoding: 'utf8' })
    assert.equal(run.status, 0, run.stderr)
  } finally {
    await kill(started.guest, 'SIGKILL')
  }
  const path = join(directory, `gcore.${started.pid}`)
  withFile(path, (source) => {
    const core = decodeCore(source)
    isTheGuest(core, source, started)
    agreesWithElfutils(core, path)
    assert.ok(core.threads.every((thread) => thread.siginfo !== undefined), 'gcore writes NT_SIGINFO for every thread')
    survivesUs(core, source, started.known)
  })
})

test('a core made by the kernel decodes to what elfutils says, and survives our encoding', async (t) => {
  if (!haveTools(t, ['gcc', 'eu-readelf'])) return
  const pattern = readFileSync('/proc/sys/kernel/core_pattern', 'latin1').trim()
  if (!/^core[^|/]*$/.test(pattern)) return t.skip(`the kernel writes cores elsewhere: core_pattern is ${pattern}`)
  const started = await startGuest()
  await kill(started.guest, 'SIGSEGV')
  const name = readdirSync(directory).find((entry) => entry.startsWith('core'))
  if (name === undefined) return t.skip('the kernel wrote no core: the limit (ulimit -c) cannot be raised')
  const path = join(directory, name)
  withFile(path, (source) => {
    const core = decodeCore(source)
    isTheGuest(core, source, started)
    agreesWithElfutils(core, path)
    assert.deepEqual(core.threads.map((thread) => [thread.currentSignal, thread.siginfo?.[0]]), [[11, 11], [11, undefined], [11, undefined]])
    assert.equal(core.process.state, 'R')
    survivesUs(core, source, started.known)
  })
})

test('elfutils finds nothing wrong with the notes of our cores', (t) => {
  if (!haveTools(t, ['eu-readelf'])) return
  for (const machine of ['x86-64', 'arm64'] as const) {
    const path = join(directory, `clean-${machine}`)
    writeFileSync(path, fileOf(sampleCore(machine), 96))
    agreesWithElfutils(sampleCore(machine), path)
    const notes = spawnSync('eu-readelf', ['-n', path], { encoding: 'utf8' }).stdout
    assert.deepEqual([...notes.matchAll(/^ {2}(?:CORE|LINUX) +\d+ {2}(.*)$/gm)].map((match) => match[1]), [
      'PRSTATUS', 'PRPSINFO', 'SIGINFO', 'AUXV', 'FILE', 'FPREGSET', ...(machine === 'arm64' ? ['ARM_TLS'] : []),
      'PRSTATUS', 'SIGINFO', 'FPREGSET', ...(machine === 'arm64' ? ['ARM_TLS'] : []),
    ])
    assert.match(notes, /utime: 1\.000001, stime: 2\.000002, cutime: 3\.000003, cstime: 4\.999999/)
    assert.match(notes, /sigpend: <10>\n +sighold: <64>/)
    // elfutils 0.188 shows pr_nice, a signed char, as unsigned: 251 is -5.
    assert.match(notes, /state: 1, sname: S, zomb: 0, nice: (251|-5), flag: 0x0000000000400000/)
  }
})

test('gdb opens our core: threads, the first one selected, registers, signal and memory', (t) => {
  if (!haveTools(t, ['gdb'])) return
  if (process.arch !== 'x64') return t.skip(`this gdb may not know x86-64: the machine is ${process.arch}`)
  const path = join(directory, 'for-gdb')
  writeFileSync(path, fileOf(sampleCore('x86-64'), 96))
  const commands = ['info threads', 'x/4gx 0x1000000000', 'p/x $rip', 'p $_siginfo.si_signo', 'thread 2', 'p/x $rip', 'x/gx 0x600000']
  const run = spawnSync('gdb', ['-nx', '-batch', ...commands.flatMap((command) => ['-ex', command]), '-c', path], { encoding: 'utf8' })
  const core = sampleCore('x86-64')
  const words = new BigUint64Array(pattern(96, 1).slice(32, 64).buffer)
  const hex = [...words].map((word) => `0x${word.toString(16).padStart(16, '0')}`)
  const out = run.stdout
  assert.match(out, /Program terminated with signal SIGSTOP/)
  assert.match(out, /\* 1 +LWP 4243.*\n +2 +LWP 4242/)
  assert.ok(out.includes(`0x1000000000:\t${hex[0]}\t${hex[1]}\n0x1000000010:\t${hex[2]}\t${hex[3]}`), out)
  assert.deepEqual([...out.matchAll(/^\$\d+ = (.*)$/gm)].map((match) => match[1]), [
    `0x${x86Register(core.threads[0]!, 16).toString(16)}`, '19', `0x${x86Register(core.threads[1]!, 16).toString(16)}`,
  ])
  assert.match(run.stderr, /Cannot access memory at address 0x600000/)
})
