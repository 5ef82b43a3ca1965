// The rules a compiler cannot check, kept as a test so that one command checks everything.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { test } from 'node:test'

/** Each room and the rooms it may import, bottom to top. A new arrow is a reviewed change. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  memory: [],
  kernel: ['memory'],
  linux: ['memory', 'kernel'],
  image: ['memory'],
  tracee: ['memory', 'kernel'],
  tracking: ['memory', 'kernel', 'tracee'],
  snapshot: ['memory', 'kernel', 'tracee', 'tracking', 'image'],
  pages: ['memory', 'kernel', 'tracking'],
  watch: ['memory', 'kernel', 'tracee', 'tracking', 'snapshot'],
  buffers: ['memory', 'kernel'],
  cli: ['index'],
}
/** Rooms that could run anywhere: no clock, no chance, nothing of Node. */
const PURE = new Set(['memory', 'kernel', 'tracee', 'tracking', 'image', 'snapshot', 'pages', 'watch', 'buffers'])
const BANNED_IN_PURE: readonly (readonly [RegExp, string])[] = [
  [/\bDate\.now\(|\bnew Date\(|\bMath\.random\(|\bperformance\./, 'take a Clock'],
  [/from 'node:/, 'ask the kernel port'],
]
const BANNED: readonly (readonly [RegExp, string])[] = [
  [/\bas any\b|: any\b/, 'use unknown, or the real type'],
  [/\bexport default\b/, 'name what you export'],
  [/^\s*(export )?enum /m, 'use a union, or an object of constants'],
  [/\b(TODO|FIXME|XXX)\b/, 'do it, or file an issue'],
]
const LINES_MAX = 400
const FUNCTION_LINES_MAX = 60

const root = join(import.meta.dirname, '..', 'src')

function sources(): string[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
}

function roomOf(file: string): string {
  return file.includes('/') ? file.split('/')[0]! : 'index'
}

function imports(text: string): string[] {
  return [...text.matchAll(/(?:^|\s)(?:import|export)\s[^'"]*?from\s+'([^']+)'|import\s*\(?\s*'([^']+)'/g)].map((match) => match[1] ?? match[2]!)
}

function problems(file: string, text: string): string[] {
  const found: string[] = []
  const room = roomOf(file)
  const allowed = MAY_IMPORT[room]
  if (room !== 'index' && allowed === undefined) found.push(`${file}: room '${room}' is not in the table`)
  for (const from of imports(text)) {
    const other = roomOf(normalize(join(dirname(file), from)))
    if (from.startsWith('.') && room !== 'index' && other !== room && !allowed?.includes(other)) found.push(`${file}: '${room}' may not import '${other}'`)
    if (from === 'koffi' && file !== 'linux/ffi.ts') found.push(`${file}: only linux/ffi.ts may call into C`)
  }
  for (const [pattern, instead] of [...BANNED, ...(PURE.has(room) ? BANNED_IN_PURE : [])]) {
    if (pattern.test(text)) found.push(`${file}: ${pattern.source} is banned: ${instead}`)
  }
  if (text.split('\n').length > LINES_MAX) found.push(`${file}: longer than ${LINES_MAX} lines`)
  for (const [name, lines] of functionLengths(text)) if (lines > FUNCTION_LINES_MAX) found.push(`${file}: ${name} has ${lines} lines`)
  return found
}

/** Top-level functions and methods, by the indentation of their closing brace. A factory that returns an object of operations is a table of them. */
function functionLengths(text: string): [string, number][] {
  const lines = text.split('\n')
  return lines.flatMap((line, i): [string, number][] => {
    const match = /^( {0,2})(?:export )?(?:async )?(?:static )?(?:function\*? )?(#?[\w$]+)\(.*\{$/.exec(line)
    if (match === null || /^\s*(if|for|while|switch|catch)\b/.test(line)) return []
    const end = lines.findIndex((other, at) => at > i && (other === `${match[1]}}` || other === `${match[1]}},`))
    const isTable = lines.slice(i, end).some((inner) => inner === `${match[1]}  return {`)
    return end < 0 || isTable ? [] : [[match[2]!, end - i]]
  })
}

/** Files that no other file imports and that are no entry, and exported names that no other file mentions. */
function unused(files: ReadonlyMap<string, string>): string[] {
  const entries = new Set(['index.ts', 'engine.ts', 'cli/main.ts'])
  const imported = new Set([...files].flatMap(([file, text]) => imports(text).filter((from) => from.startsWith('.')).map((from) => normalize(join(dirname(file), from)))))
  const everything = readTests()
  const found = [...files.keys()].filter((file) => !entries.has(file) && !imported.has(file)).map((file) => `${file}: nobody imports it`)
  for (const [file, text] of files) {
    if (entries.has(file)) continue
    for (const [, name] of text.matchAll(/^export (?:async )?(?:function\*?|const|class) ([\w$]+)/gm)) {
      const others = [...files].some(([other, content]) => other !== file && new RegExp(`\\b${name}\\b`).test(content))
      if (!others && !new RegExp(`\\b${name}\\b`).test(everything)) found.push(`${file}: nobody uses ${name}`)
    }
  }
  return found
}

function readTests(): string {
  const beside = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.test.ts')).map((file) => join(root, file))
  const apart = ['tests', 'bench', 'demo'].flatMap((folder) => {
    const path = join(root, '..', folder)
    return readdirSync(path, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts')).map((file) => join(path, file))
  })
  return [...beside, ...apart].map((file) => readFileSync(file, 'utf8')).join('\n')
}

test('the sources keep the rules of the house', () => {
  const files = new Map(sources().map((file) => [file, readFileSync(join(root, file), 'utf8')]))
  assert.deepEqual([...files].flatMap(([file, text]) => problems(file, text)).concat(unused(files)), [])
})

test('the rules find what they should', () => {
  assert.deepEqual(problems('tracking/x.ts', "import { a } from '../linux/ffi.ts'\nconst t = Date.now()"), [
    "tracking/x.ts: 'tracking' may not import 'linux'",
    'tracking/x.ts: \\bDate\\.now\\(|\\bnew Date\\(|\\bMath\\.random\\(|\\bperformance\\. is banned: take a Clock',
  ])
  assert.deepEqual(problems('cli/dump.ts', "import { b } from '../snapshot/precopy.ts'"), ["cli/dump.ts: 'cli' may not import 'snapshot'"])
  assert.deepEqual(problems('linux/maps.ts', "import koffi from 'koffi'"), ['linux/maps.ts: only linux/ffi.ts may call into C'])
  assert.deepEqual(problems('memory/y.ts', `export function long(a: number) {\n${'  a++\n'.repeat(70)}}`), ['memory/y.ts: long has 71 lines'])
  assert.deepEqual(unused(new Map([['memory/z.ts', 'export interface Z {}']])), ['memory/z.ts: nobody imports it'])
})
