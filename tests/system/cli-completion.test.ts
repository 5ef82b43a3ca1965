import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { runCli, Scratch } from '../support/cli.ts'
import { skipWithout } from '../support/fixtures.ts'
import { readFileSync, writeFileSync } from 'node:fs'

async function script(shell: string): Promise<string> {
  const { code, stdout, stderr } = await runCli(['completion', shell])
  assert.equal(code, 0)
  assert.equal(stderr, '')
  return stdout.toString()
}

/** What bash would offer after these words, the last of which is being typed. */
function complete(file: string, folder: string, ...words: readonly string[]): string[] {
  const drive = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); $(complete -p tidemark | sed "s/.*-F \\([^ ]*\\).*/\\1/"); printf "%s\\n" "${COMPREPLY[@]}"'
  const { stdout, stderr } = spawnSync('bash', ['--norc', '-c', drive, 'bash', file, 'tidemark', ...words], { encoding: 'utf8', cwd: folder })
  assert.equal(stderr, '')
  return stdout.split('\n').filter((word) => word !== '')
}

test('bash completes commands, options, their choices, processes and files', { skip: skipWithout('bash') }, async () => {
  using scratch = new Scratch()
  const file = scratch.file('completion.bash')
  writeFileSync(file, await script('bash'))
  writeFileSync(scratch.file('app.core'), '')
  assert.equal(spawnSync('bash', ['-n', file]).status, 0)
  const offered = (...words: string[]) => complete(file, scratch.path, ...words)
  assert.deepEqual(offered('').toSorted(), ['check', 'completion', 'dump', 'pages', 'predict', 'top'])
  assert.deepEqual(offered('d'), ['dump'])
  assert.deepEqual(offered('completion', '').toSorted(), ['bash', 'fish', 'zsh'])
  assert.deepEqual(offered('dump', '1', '--strategy', '').toSorted(), ['auto', 'fork', 'precopy', 'stop'])
  assert.deepEqual(offered('dump', '1', '--strategy', 'p'), ['precopy'])
  assert.deepEqual(offered('dump', '1', '-o', 'app'), ['app.core'])
  assert.deepEqual(offered('dump', '1', '--out'), ['--output'])
  assert.ok(offered('dump', String(process.pid).slice(0, -1)).includes(String(process.pid)), 'a process')
  assert.ok(offered('dump', '--').every((word) => word.startsWith('--')))
  assert.ok(!offered('dump', '--').includes('--tree'), 'what is hidden stays hidden')
  assert.deepEqual(offered('check', '--j'), ['--json'])
})

test('bash offers every option that the help names', { skip: skipWithout('bash') }, async () => {
  using scratch = new Scratch()
  const file = scratch.file('completion.bash')
  writeFileSync(file, await script('bash'))
  for (const command of ['dump', 'pages']) await assertOffersAll(file, scratch.path, command)
  assert.ok(readFileSync(file, 'utf8').endsWith('\n'))
})

async function assertOffersAll(file: string, folder: string, command: string): Promise<void> {
  const help = (await runCli([command, '--help'])).stdout.toString()
  const named = new Set([...help.matchAll(/^ {2}(?:-\w, )?(--[\w-]+)/gm)].map(([, long]) => long!))
  for (const ours of ['--help', '--version']) named.delete(ours)
  const offered = complete(file, folder, command, '--')
  assert.ok(named.size > 0)
  assert.deepEqual([...named].filter((long) => !offered.includes(long)), [])
}

test('zsh reads its script', { skip: skipWithout('zsh') }, async () => {
  using scratch = new Scratch()
  writeFileSync(scratch.file('_tidemark'), await script('zsh'))
  const { status, stderr } = spawnSync('zsh', ['-n', scratch.file('_tidemark')], { encoding: 'utf8' })
  assert.equal(status, 0, stderr)
})

test('fish reads its script and completes', { skip: skipWithout('fish') }, async () => {
  using scratch = new Scratch()
  writeFileSync(scratch.file('tidemark.fish'), await script('fish'))
  const { stdout, status, stderr } = spawnSync('fish', ['--no-config', '-c', `source ${scratch.file('tidemark.fish')}; complete -C 'tidemark dump 1 --strategy '`], { encoding: 'utf8' })
  assert.equal(status, 0, stderr)
  assert.match(stdout, /precopy/)
})
