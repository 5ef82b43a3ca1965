import assert from 'node:assert/strict'
import { accessSync, constants, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { dump } from 'tidemark'
import { gdb, openCore } from '../support/gdb.ts'
import { compileProgram, programMissing, run, startProgram, temporaryFolder } from '../support/programs.ts'

const LIMIT_FILE = '/proc/sys/vm/max_map_count'
const LIMIT = 150_000
/** e_phnum has 16 bits; 0xffff, PN_XNUM, says that the number is elsewhere. */
const PN_XNUM = 0xffff
const PAGES = 70_000

/** One page of every two is read-only, so that no two neighbours are one mapping. Every thousandth is written. */
const MANY_MAPPINGS = `
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
char *base;
int main(void) {
  base = mmap(0, ${PAGES} * 4096ul, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) { perror("mmap"); return 1; }
  for (int page = 0; page < ${PAGES}; page += 1000) sprintf(base + page * 4096ul, "page %d", page);
  for (int page = 0; page < ${PAGES}; page += 2)
    if (mprotect(base + page * 4096ul, 4096, PROT_READ) != 0) { perror("mprotect"); return 1; }
  printf("ready %p\\n", (void *)base);
  fflush(stdout);
  char byte;
  while (read(0, &byte, 1) > 0) {}
  for (int page = 0; page < ${PAGES}; page += 1000) {
    char wanted[32];
    sprintf(wanted, "page %d", page);
    if (strcmp(base + page * 4096ul, wanted) != 0) return 2;
  }
  return 0;
}
`

/** The reason why no process here can have so many mappings. */
function limitFixed(): string | undefined {
  if (Number(readFileSync(LIMIT_FILE, 'utf8')) >= LIMIT) return undefined
  try {
    accessSync(LIMIT_FILE, constants.W_OK)
    return undefined
  } catch {
    return `${LIMIT_FILE} is less than ${LIMIT} and only root may raise it`
  }
}

function raiseLimit(t: TestContext): void {
  const before = readFileSync(LIMIT_FILE, 'utf8').trim()
  if (Number(before) >= LIMIT) return
  writeFileSync(LIMIT_FILE, String(LIMIT))
  t.after(() => writeFileSync(LIMIT_FILE, before))
}

const skip = limitFixed() ?? programMissing('cc', 'gdb', 'readelf')

for (const strategy of ['auto', 'precopy', 'fork', 'stop'] as const) {
  test(`a process with more mappings than e_phnum can say is saved by ${strategy}, and gdb and readelf read all of it`, { skip, timeout: 120_000 }, async (t) => {
    raiseLimit(t)
    const program = await compileProgram(t, 'many-mappings', MANY_MAPPINGS)
    const running = startProgram(t, program, [])
    await running.says('\n')
    const base = BigInt(running.stdout.trim().split(' ')[1] ?? '')
    const mappings = readFileSync(`/proc/${running.pid}/maps`, 'utf8').trim().split('\n').length
    assert.ok(mappings > PN_XNUM)
    const output = join(temporaryFolder(t), 'many.core')
    const result = await dump(running.pid, { output, strategy })
    t.diagnostic(`${strategy}${strategy === 'auto' ? ` (${result.strategy})` : ''}: ${result.mappings} mappings, pause ${(result.pauseNs / 1e6).toFixed(1)} ms, total ${(result.totalNs / 1e6).toFixed(0)} ms`)
    assert.equal(result.mappings, mappings)

    const image = openCore(t, output)
    for (let page = 0; page < PAGES; page += 1000) {
      const text = `page ${page}\0`
      assert.equal(Buffer.from(image.read(base + BigInt(page) * 4096n, text.length)).toString(), text)
    }
    const { stdout, stderr } = await run('readelf', ['-lW', output])
    assert.equal(stderr, '')
    const loads = stdout.split('\n').filter((line) => /^ +LOAD /.test(line)).length
    assert.ok(loads >= mappings, `${loads} segments`)
    assert.match(stdout, new RegExp(`There are ${loads + 1} program headers`))
    const text = await gdb(program, output, ['p (char*)base + 0', 'x/s base + 69000 * 4096ul', 'bt'])
    assert.match(text, /"page 69000"/, text)
    assert.match(text, / main \(/, text)
    assert.equal(await running.finish(), 0)
  })
}
