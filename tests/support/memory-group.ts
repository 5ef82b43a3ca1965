import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Where control groups of version 1 and 2 have their memory controller, and what each calls its limit and its use. */
const HIERARCHIES = [
  { root: '/sys/fs/cgroup/memory', sign: 'memory.limit_in_bytes', limit: 'memory.limit_in_bytes', used: 'memory.usage_in_bytes' },
  { root: '/sys/fs/cgroup', sign: 'cgroup.controllers', limit: 'memory.max', used: 'memory.current' },
] as const

/** A memory control group of our own. Precondition of its disposal: its processes have ended. */
export class MemoryGroup implements Disposable {
  readonly #path: string
  readonly #names: typeof HIERARCHIES[number]

  /** Throws where there is no memory controller, or we may not use it. */
  constructor(name: string) {
    const names = HIERARCHIES.find(({ root, sign }) => existsSync(join(root, sign)))
    if (names === undefined) throw new Error('no memory controller')
    this.#names = names
    this.#path = join(names.root, name)
    mkdirSync(this.#path)
    if (existsSync(join(this.#path, names.limit))) return
    this[Symbol.dispose]()
    throw new Error('the memory controller is not enabled for new groups')
  }

  /** Words that run a program in the group. */
  get before(): string[] {
    return ['/bin/sh', '-c', 'echo $$ > "$0" && exec "$@"', join(this.#path, 'cgroup.procs')]
  }

  limit(bytes: number): void {
    writeFileSync(join(this.#path, this.#names.limit), String(bytes))
  }

  /** What its processes and the page cache they filled are charged with now. */
  get usedBytes(): number {
    return Number(readFileSync(join(this.#path, this.#names.used), 'utf8'))
  }

  [Symbol.dispose](): void {
    rmdirSync(this.#path)
  }
}

/** The reason why no such group can be had here; false if it can. Tried by making one. */
export function groupsUnavailable(): string | false {
  try {
    new MemoryGroup(`tidemark-try-${process.pid}`)[Symbol.dispose]()
    return false
  } catch (error) {
    return `no memory control group can be made: ${(error as Error).message}`
  }
}
