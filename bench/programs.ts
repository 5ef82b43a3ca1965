import { execFileSync } from 'node:child_process'
import { mkdirSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { buildGuest, checkoutRoot } from '../tests/support/guest-build.ts'

export type ProgramName = 'warm' | 'bare-copy' | 'bare-dirty' | 'bare-scan' | 'writer'

export interface Programs {
  readonly path: (name: ProgramName) => string
}

/** Compiles what is not there yet, or older than its source. Throws GuestUnavailable where nothing can be compiled. */
export async function compilePrograms(): Promise<Programs> {
  // Reports the lack of a compiler, and keeps the victim's compilation out of the first run.
  await buildGuest('victim')
  const directory = join(checkoutRoot(), 'build/bench/programs')
  mkdirSync(directory, { recursive: true })
  const path = (name: ProgramName): string => join(directory, name)
  for (const name of ['warm', 'bare-copy', 'bare-dirty', 'bare-scan', 'writer'] as const) compile(join(checkoutRoot(), 'bench', `${name}.c`), path(name))
  return { path }
}

function compile(source: string, program: string): void {
  if (changedMs(program) > changedMs(source)) return
  const draft = `${program}.${process.pid}`
  execFileSync('cc', ['-O2', '-Wall', '-Wextra', '-pthread', '-o', draft, source])
  renameSync(draft, program)
}

function changedMs(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0
}
