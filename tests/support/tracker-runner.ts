/** Takes the cases of tracker-cases.ts through a guest and a tracker. */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { mergedPages } from './machine-memory.ts'
import { until } from './programs.ts'
import { CommandUnavailable, Scribe } from './scribe.ts'
import type { TrackerCase } from './tracker-cases.ts'
import { findMissed, type Finding } from './tracker-check.ts'
import type { Subject, Tracking } from './tracker-subjects.ts'

/** When a case's memory is made: before tracking begins, or while it goes on. */
export type Timing = 'old memory' | 'new memory'

const WITHOUT_NAME = new Set(['unpin', 'fork', 'join', 'halt'])

/** The command with the case's own names for regions. */
function named(command: string, prefix: string): string {
  const [verb, ...words] = command.split(' ')
  if (WITHOUT_NAME.has(verb!)) return command
  return [verb, ...words.map((word, i) => (i === 0 || (i === 1 && verb === 'alias') ? `${prefix}${word}` : word))].join(' ')
}

export interface Tally { changed: number; reported: number; over: number; covered: number; repeated: number }

/** A guest that is tracked, for as many cases as it lives through. */
export class Stand implements AsyncDisposable {
  readonly scribe: Scribe
  readonly subject: Subject
  #tracking: Tracking | undefined

  private constructor(scribe: Scribe, subject: Subject) {
    this.scribe = scribe
    this.subject = subject
  }

  static async start(subject: Subject): Promise<Stand> {
    return new Stand(await Scribe.start(), subject)
  }

  async begin(): Promise<void> {
    this.#tracking ??= await this.subject.begin(this.scribe.pid)
  }

  get usable(): boolean {
    return !this.scribe.ended
  }

  async setUp(one: TrackerCase, prefix: string): Promise<'done' | { readonly unavailable: string }> {
    try {
      for (const command of one.setup) await this.#perform(named(command, prefix))
      return 'done'
    } catch (error) {
      if (!(error instanceof CommandUnavailable)) throw error
      return { unavailable: error.message }
    }
  }

  /** Precondition: it is set up, and tracking has begun. Throws what a reader needs to know if a page was missed. */
  async take(t: TestContext, one: TrackerCase, prefix: string, tally: Tally): Promise<void> {
    await this.#mark()
    for (const step of one.steps) {
      if (step === 'collect') await this.#check(one, prefix, tally)
      else if (step === 'until merged') await until(() => mergedPages(this.scribe.pid) > 0, 'KSM merges a page')
      else await this.#tell(t, step, prefix)
    }
    await this.#check(one, prefix, tally)
    await this.#assertNothingTwice(one, prefix, tally)
  }

  async cleanUp(prefix: string): Promise<void> {
    for (const command of ['halt', 'unpin', 'join']) await this.scribe.perform(command)
    for (const name of [...this.scribe.regions.keys()].filter((name) => name.startsWith(prefix))) await this.scribe.release(name)
  }

  async collect(): ReturnType<Tracking['collect']> {
    assert.ok(this.#tracking !== undefined, 'tracking has begun')
    return await this.#tracking.collect()
  }

  async #mark(): Promise<void> {
    await this.collect()
    await this.scribe.mark()
  }

  async #perform(command: string) {
    return await this.scribe.perform(command)
  }

  async #tell(t: TestContext, step: string, prefix: string): Promise<void> {
    const answer = await this.#perform(named(step, prefix))
    if (answer['errno'] !== undefined) t.diagnostic(`${this.subject.name}: the kernel answers "${step}" with ${String(answer['errno'])}`)
  }

  #names(prefix: string): string[] {
    return [...this.scribe.regions.keys()].filter((name) => name.startsWith(prefix))
  }

  async #check(one: TrackerCase, prefix: string, tally: Tally): Promise<void> {
    const report = await this.collect()
    const truth = await this.scribe.since()
    await this.scribe.mark()
    const allowance = { cannotFollow: this.subject.cannotFollow, mayHide: one.mayHide ?? [] }
    const found = findMissed(this.scribe, truth, report, this.#names(prefix), this.subject.name, allowance)
    add(tally, found)
    assert.deepEqual(found.problems, [], `\n${found.problems.join('\n')}\nafter: ${[...one.setup, '(mark)', ...one.steps].join('; ')}\n`)
  }

  /** Of pages that nobody touched since, none is reported again. */
  async #assertNothingTwice(one: TrackerCase, prefix: string, tally: Tally): Promise<void> {
    const report = await this.collect()
    const truth = await this.scribe.since()
    const exact = this.#names(prefix).filter((name) => this.subject.exactFor.has(this.scribe.regions.get(name)!.kind))
    const found = findMissed(this.scribe, truth, report, exact, this.subject.name, { cannotFollow: new Set(), mayHide: [] })
    tally.repeated += found.overPages
    if (one.mayHide === undefined) assert.equal(found.overPages, 0, `${this.subject.name} reports ${found.overPages} pages again that nobody wrote since, after: ${[...one.setup, '(mark)', ...one.steps].join('; ')}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tracking?.[Symbol.asyncDispose]().catch(() => undefined)
    await this.scribe[Symbol.asyncDispose]()
  }
}

function add(tally: Tally, found: Finding): void {
  tally.changed += found.changedPages
  tally.reported += found.reportedPages
  tally.over += found.overPages
  tally.covered += found.coveredPages
}
