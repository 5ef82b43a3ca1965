/** Random programs for scribe: what they map, write, move, drop and fork, and when a report is taken. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { MemoryMirror } from './memory-mirror.ts'
import { CommandRefused, CommandUnavailable, type Region, Scribe } from './scribe.ts'
import { findMissed } from './tracker-check.ts'
import type { Subject, Tracking } from './tracker-subjects.ts'

/** A step means something whatever came before it: regions are counted around, pages cut to what is there. So programs shrink well. */
export type Step =
  | { readonly do: 'map'; readonly kind: string; readonly pages: number }
  | { readonly do: 'pages'; readonly verb: string; readonly region: number; readonly first: number; readonly count: number }
  | { readonly do: 'region'; readonly verb: string; readonly region: number; readonly by: number }
  | { readonly do: 'process'; readonly verb: 'fork' | 'join' | 'halt' | 'unpin' }
  | { readonly do: 'collect' }

const KINDS = ['anon', 'anon', 'apart', 'heap', 'shared', 'memfd', 'private-memfd', 'file', 'private-file', 'sysv', 'owned'] as const
const WRITES = ['write', 'write', 'write', 'atomic', 'same', 'read', 'readv', 'direct', 'ring', 'vmwrite', 'procmem', 'poke', 'child', 'vchild'] as const
const OTHERS = ['peek', 'peek', 'drop', 'free', 'pageout', 'remove', 'guard', 'unguard', 'punch', 'pwrite', 'truncate', 'none', 'readonly', 'access', 'access', 'over', 'unmap'] as const
const REMAPS = ['move', 'grow', 'growmove', 'shrink', 'release', 'alias', 'spin', 'pin', 'ringfixed'] as const
const HUGE_PAGES = 512

const onPages = (verbs: readonly string[]): fc.Arbitrary<Step> =>
  fc.record({ do: fc.constant('pages' as const), verb: fc.constantFrom(...verbs), region: fc.nat(7), first: fc.nat(31), count: fc.integer({ min: 1, max: 8 }) })

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('map' as const), kind: fc.constantFrom(...KINDS), pages: fc.integer({ min: 1, max: 24 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('map' as const), kind: fc.constant('thp'), pages: fc.constant(HUGE_PAGES) }) },
  { weight: 14, arbitrary: onPages(WRITES) },
  { weight: 9, arbitrary: onPages(OTHERS) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('region' as const), verb: fc.constantFrom(...REMAPS), region: fc.nat(7), by: fc.integer({ min: 1, max: 8 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('process' as const), verb: fc.constantFrom('fork' as const, 'join' as const, 'halt' as const, 'unpin' as const) }) },
  { weight: 7, arbitrary: fc.constant({ do: 'collect' as const }) },
)

/** What is there before tracking begins, and what happens then. */
export interface Program {
  readonly before: readonly Step[]
  readonly after: readonly Step[]
}

export const programs: fc.Arbitrary<Program> = fc.record({
  before: fc.array(step.filter((one) => one.do !== 'collect'), { maxLength: 10 }),
  after: fc.array(step, { minLength: 3, maxLength: 30, size: 'max' }),
})

/** Runs the program in a guest of its own. Throws, with the commands that ran, when a report misses a page or the mirror differs in the end. */
export async function runProgram({ before, after }: Program, subject: Subject): Promise<void> {
  await using scribe = await Scribe.start()
  const run = new ProgramRun(scribe, subject)
  for (const one of before) await run.take(one)
  await using tracking = await subject.begin(scribe.pid)
  await run.follow(tracking)
  for (const one of after) await run.take(one)
  await run.end()
  await scribe.finish()
}

class ProgramRun {
  readonly #scribe: Scribe
  readonly #subject: Subject
  readonly #log: string[] = []
  #tracking: Tracking | undefined
  #mirror: MemoryMirror | undefined
  #named = 0

  constructor(scribe: Scribe, subject: Subject) {
    this.#scribe = scribe
    this.#subject = subject
  }

  async follow(tracking: Tracking): Promise<void> {
    this.#tracking = tracking
    const holdsRegion = ({ start, end, permissions }: { readonly start: number; readonly end: number; readonly permissions: string }): boolean =>
      permissions[3] === 'p' && [...this.#scribe.regions.values()].some((region) => region.start < end && start < region.end)
    this.#mirror = new MemoryMirror(this.#scribe.pid, { wanted: holdsRegion })
    this.#log.push('(tracking begins)')
    await this.#mirror.copyAll()
    await this.#scribe.mark()
  }

  async take(one: Step): Promise<void> {
    if (one.do === 'collect') return await this.#collect()
    const command = this.#commandFor(one)
    if (command === undefined) return
    try {
      await this.#scribe.perform(command)
      this.#log.push(command)
    } catch (error) {
      // It makes no sense at this point, and nothing has happened.
      if (!(error instanceof CommandRefused) && !(error instanceof CommandUnavailable)) throw new Error(`${this.#story(command)}: ${(error as Error).message}`, { cause: error })
    }
  }

  async end(): Promise<void> {
    await this.#scribe.perform('halt')
    await this.#collect()
    const regions = [...this.#scribe.regions.values()].filter(({ kind }) => !this.#subject.cannotFollow.has(kind))
    const inRegions = this.#mirror!.differences().found.flatMap(({ page, bytes, mapping }) => {
      const region = regions.find(({ start, end }) => start <= page && page < end)
      return region === undefined ? [] : [`${this.#subject.name}: page ${page - region.start} of ${region.name} (${region.kind}, ${mapping}) differs from the mirror in ${bytes} bytes`]
    })
    this.#mirror![Symbol.dispose]()
    if (inRegions.length > 0) assert.fail(this.#story(inRegions.slice(0, 5).join('\n')))
  }

  async #collect(): Promise<void> {
    if (this.#tracking === undefined) return
    const report = await this.#tracking.collect()
    await this.#mirror!.update(report)
    const truth = await this.#scribe.since()
    await this.#scribe.mark()
    this.#log.push('(collect)')
    const { problems } = findMissed(this.#scribe, truth, report, [...this.#scribe.regions.keys()], this.#subject.name, { cannotFollow: this.#subject.cannotFollow, mayHide: [] })
    if (problems.length > 0) assert.fail(this.#story(problems.join('\n')))
  }

  #story(problem: string): string {
    return `${problem}\nafter these commands of tests/guests/scribe.c:\n  ${this.#log.join('\n  ')}\n`
  }

  #commandFor(one: Exclude<Step, { do: 'collect' }>): string | undefined {
    if (one.do === 'process') return one.verb
    if (one.do === 'map') return `map r${this.#named++} ${one.kind} ${one.pages}`
    const live = [...this.#scribe.regions.values()]
    const region = live[one.region % Math.max(1, live.length)]
    if (region === undefined) return undefined
    return one.do === 'pages' ? pageCommand(one, region) : this.#regionCommand(one, region)
  }

  #regionCommand({ verb, by }: Step & { do: 'region' }, { name }: Region): string {
    switch (verb) {
      case 'release': return `unmap ${name}`
      case 'alias': return `alias r${this.#named++} ${name}`
      case 'spin': return `spin ${name} 2`
      case 'pin': case 'move': return `${verb} ${name}`
      case 'ringfixed': return `ringfixed ${name} 0 1`
      default: return `${verb} ${name} ${by}`
    }
  }
}

function pageCommand({ verb, first, count }: Step & { do: 'pages' }, { name, start, end }: Region): string {
  const pages = end - start
  const from = first % pages
  return `${verb} ${name} ${from} ${Math.min(count, pages - from)}`
}
