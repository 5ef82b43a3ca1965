import { spawn } from 'node:child_process'

export interface CommandResult {
  readonly exitCode: number | null
  readonly stdout: string
  readonly stderr: string
  readonly wallNs: number
}

/**
 * Runs a command to its end. When `signal` fires it is killed with all it started (gcore is a script around gdb) and
 * the promise rejects; the kernel lets go of whatever they traced.
 */
export function runCommand(file: string, args: readonly string[], signal: AbortSignal): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted()
    const began = process.hrtime.bigint()
    // A group of its own, so that it can be killed as one and a Ctrl-C at the terminal reaches only the bench.
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true, env: { ...process.env, DEBUGINFOD_URLS: '' } })
    const kill = (): void => killGroup(child.pid)
    signal.addEventListener('abort', kill, { once: true })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (data: Buffer) => { stdout += data.toString() })
    child.stderr.on('data', (data: Buffer) => { stderr += data.toString() })
    child.on('error', (error) => settle(() => reject(error)))
    child.on('close', (exitCode) => settle(() => {
      if (signal.aborted) reject(signal.reason as Error)
      else resolve({ exitCode, stdout, stderr, wallNs: Number(process.hrtime.bigint() - began) })
    }))
    const settle = (finish: () => void): void => {
      signal.removeEventListener('abort', kill)
      finish()
    }
  })
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
}

/** The last line of what a program printed, as JSON. */
export function lastJson(text: string): unknown {
  const line = text.trimEnd().split('\n').at(-1) ?? ''
  try {
    return JSON.parse(line) as unknown
  } catch {
    throw new Error(`a line of JSON was expected and not: ${line === '' ? '(nothing)' : line.slice(0, 200)}`)
  }
}

/** Why a program could not start at all, or undefined. */
export async function missing(file: string, signal: AbortSignal): Promise<string | undefined> {
  try {
    await runCommand(file, ['--version'], signal)
    return undefined
  } catch (error) {
    signal.throwIfAborted()
    return `${file} is not installed here (${error instanceof Error ? error.message : String(error)})`
  }
}
