import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { TidemarkError } from '../kernel/errors.ts'
import { systemCall } from './ffi.ts'
import { NR } from './system-calls.ts'

const SLEEP = '/bin/sleep'
const WALL = 0x4000_0000

/** A child that only sleeps. Its end is waited for here: Node, which is busy with us, never hears of it. */
export function startExtra(): Disposable & { readonly pid: number } {
  const [program, args] = existsSync(SLEEP) ? [SLEEP, ['60']] : [process.execPath, ['-e', 'setTimeout(() => {}, 60_000)']]
  const child = spawn(program, args, { stdio: 'ignore' })
  child.on('error', () => {})
  child.unref()
  const { pid } = child
  if (pid === undefined) throw new TidemarkError('failed', `cannot start ${program}`)
  return {
    pid,
    [Symbol.dispose]() {
      systemCall(NR.kill, pid, 9)
      systemCall(NR.wait4, pid, 0, WALL, 0)
    },
  }
}
