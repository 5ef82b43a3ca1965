import { tmpdir } from 'node:os'
import { parseArgs } from 'node:util'

export interface DemoOptions {
  readonly mib: number
  readonly writesPerSecond: number
  readonly directory: string
}

export const USAGE = `Usage: npm run demo -- [--mib N] [--writes N] [--dir DIRECTORY]

Saves a live Node program in every way this machine allows, and checks each image.

  --mib N           how much memory the program holds (256)
  --writes N        writes per second it makes (10000)
  --dir DIRECTORY   where the images go until they are checked (${tmpdir()})`

/** Throws a TypeError with a line for the user. */
export function readOptions(args: readonly string[]): DemoOptions | 'help' {
  const { values } = parseArgs({
    args: [...args], strict: true,
    options: { mib: { type: 'string' }, writes: { type: 'string' }, dir: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
  })
  if (values.help === true) return 'help'
  return {
    mib: count('--mib', values.mib ?? '256', 16, 65536),
    writesPerSecond: count('--writes', values.writes ?? '10000', 1, 1_000_000),
    directory: values.dir ?? tmpdir(),
  }
}

function count(name: string, text: string, least: number, most: number): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < least || value > most) throw new TypeError(`${name} must be a whole number from ${least} to ${most}, not ${text}`)
  return value
}
