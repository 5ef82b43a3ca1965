import { isTidemarkError } from '../../kernel/errors.ts'
import type { Capability } from '../capabilities.ts'

/** What an attempt came to: `undefined` or a noteworthy detail when it worked. */
export type Outcome = { readonly works: true; readonly detail?: string } | { readonly works: false; readonly detail: string; readonly remedy?: string }

export const works = (detail = ''): Outcome => ({ works: true, detail })
export const fails = (detail: string, remedy?: string): Outcome => (remedy === undefined ? { works: false, detail } : { works: false, detail, remedy })

export interface Attempt {
  readonly name: string
  readonly group: Capability['group']
  readonly title: string
  /** What its absence costs and how to get it, where the attempt knows nothing better. */
  readonly remedy: string
  readonly body: () => Outcome
}

/** An attempt on a child of ours, if there is one. */
export function onChild(child: number | undefined, body: (pid: number) => Outcome): () => Outcome {
  return () => (child === undefined ? fails('not tried: no child could be started', 'tidemark needs /bin/sleep or its own node to try things on, and /dev/null; is the number of processes limited?') : body(child))
}

/** Tries one thing. What the world refuses is an answer here; a bug of ours still throws. */
export function attempt({ name, group, title, remedy, body }: Attempt): Capability {
  const outcome = tryBody(body)
  return outcome.works
    ? { name, group, title, available: true, detail: outcome.detail ?? '', remedy: '' }
    : { name, group, title, available: false, detail: outcome.detail, remedy: outcome.remedy ?? remedy }
}

function tryBody(body: () => Outcome): Outcome {
  try {
    return body()
  } catch (error) {
    const why = refusalOf(error)
    if (why === undefined) throw error
    return fails(why)
  }
}

/** The world's refusal as text; `undefined` for a bug. Node's errors of the file system carry a code and a system call. */
export function refusalOf(error: unknown): string | undefined {
  if (isTidemarkError(error)) return error.message
  const { code, syscall, path } = error as NodeJS.ErrnoException
  return code === undefined || syscall === undefined ? undefined : `${syscall}${path === undefined ? '' : ` ${path}`}: ${code}`
}
