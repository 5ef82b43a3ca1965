/** Takes the cases of tracker-cases.ts through a guest and a tracker. */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { mergedPages } from './machine-memory.ts'
import { until } from './programs.ts'
import { CommandUnavailable, Scribe } from './scribe.ts'
import type { TrackerCase } from './tracker-cases.ts'
import { findMissed, type Finding, ReportedPages } from './tracker-check.ts'
import type { Subject, Tracking } from './tracker-subjects.ts'

/** When a case's memory is made: before tracking begins; while it goes on, and a few reports before the steps; right before them. */
export type Timing = 'old memory' | 'settled memory' | 'new memory'
const SETTLING_REPORTS = 3
/** A file that was written a moment ago may be reported until its time is old enough to tell a later write by. */
const QUIET_WITHIN_MS = 2_000

const WITHOUT_NAME = new Set(['unpin', 'fork', 'join', 'halt'])

/** The command with the case's own names for regions. */
function named(command: string, prefix: string): string {
  const [verb, ...words] = command.split(' ')
  if (WITHOUT_NAME.has(verb!)) return command
  return [verb, ...words.map((word, i) => (i === 0 || (i === 1 && verb === 'alias') ? `${prefix}${word}` : word))].join(' ')
}

export interface Tally { changed: number; reported: number; over: number; covered: number; repeated: number }

export function emptyTally(): Tally {
  return { changed: 0, reported: 0, over: 0, covered: 0, repeated: 0 }
}

/** A guest that is tracked, for as many cases as it lives through. */
export class Stand implements AsyncDisposable {
  readonly scribe: Scribe
  readonly subject: Subject
  readonly timing: Timing
  #tracking: Tracking | undefined
  #last: ReportedPages | undefined

  private constructor(scribe: Scribe, subject: Subject, timing: Timing) {
    this.scribe = scribe
    this.timing = timing
    this.subject = subject
  }

  static async start(subject: Subject, timing: Timing): Promise<Stand> {
    return new Stand(await Scribe.start(), subject, timing)
  }

  /** Sets the mark on all that is there. */
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
    for (let i = 0; this.timing === 'settled memory' && i < SETTLING_REPORTS; i++) await this.collect()
    await this.#mark()
    for (const step of one.steps) {
      if (step === 'collect') await this.#check(one, prefix, tally)
      else if (step === 'until merged') await until(() => mergedPages(this.scribe.pid) > 0, 'KSM merges a page')
      else await this.#tell(t, step, prefix)
    }
    await this.#check(one, prefix, tally)
    await this.#assertSoonQuiet(one, prefix, tally)
  }

  async cleanUp(prefix: string): Promise<void> {
    for (const command of ['halt', 'unpin', 'join']) await this.scribe.perform(command)
    for (const name of [...this.scribe.regions.keys()].filter((name) => name.startsWith(prefix))) await this.scribe.release(name)
  }

  async collect(): ReturnType<Tracking['collect']> {
    assert.ok(this.#tracking !== undefined, 'tracking has begun')
    const report = await this.#tracking.collect()
    this.#last = new ReportedPages(report)
    return report
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
    const before = this.#last!
    const report = await this.collect()
    const truth = await this.scribe.since()
    await this.scribe.mark()
    const allowance = { cannotFollow: this.subject.cannotFollow, mayHide: one.mayHide ?? [] }
    const found = findMissed(this.scribe, truth, report, this.#names(prefix), this.subject.name, allowance)
    add(tally, found)
    const after = `after: ${[...one.setup, '(mark)', ...one.steps].join('; ')}`
    if (found.problems.length > 0) assert.fail(`${found.problems.join('\n')}\n${after}\n`)
    const over = found.unchanged.filter((page) => this.#mustBeExact(page, one, before))
    assert.equal(over.length, 0, `${this.subject.name} reports ${over.length} pages that nobody wrote, the first page ${over[0]?.toString(16)}000, ${after}`)
  }

  /** Whether a page that nobody wrote may not be reported: it was followed already when the mark was set. */
  #mustBeExact(page: number, one: TrackerCase, before: ReportedPages): boolean {
    if (this.timing === 'new memory' || one.restless) return false
    const isFollowed = [before, this.#last!].every((pages) => pages.mappingAt(page) !== undefined && pages.mappingAt(page)!.tracker !== 'none')
    return isFollowed && this.subject.exactFor.has(this.scribe.regionAt(page)!.kind)
  }

  /** Of pages that are followed and that nobody touched since, none is reported again; where that is not promised, soon none is. */
  async #assertSoonQuiet(one: TrackerCase, prefix: string, tally: Tally): Promise<void> {
    const regions = this.#names(prefix).map((name) => this.scribe.regions.get(name)!).filter(({ kind }) => !this.subject.cannotFollow.has(kind))
    const after = `after: ${[...one.setup, '(mark)', ...one.steps].join('; ')}`
    const before = this.#last!
    const first = await this.collect()
    const again = regions.flatMap((region) => new ReportedPages(first).within(region)).filter((page) => this.#mustBeExact(page, one, before))
    assert.equal(again.length, 0, `${this.subject.name} reports ${again.length} pages again that nobody wrote since, the first ${again[0]?.toString(16)}000, ${after}`)
    tally.repeated += regions.reduce((sum, region) => sum + new ReportedPages(first).within(region).length, 0)
    if (one.restless || this.timing !== 'old memory') return
    const quiet = async (): Promise<boolean> => {
      const pages = new ReportedPages(await this.collect())
      return regions.every((region) => pages.within(region).length === 0)
    }
    await until(quiet, `${this.subject.name} reports nothing when nobody writes, ${after}`, QUIET_WITHIN_MS)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.usable) await this.#tracking?.[Symbol.asyncDispose]()
    await this.scribe[Symbol.asyncDispose]()
  }
}

function add(tally: Tally, found: Finding): void {
  tally.changed += found.changedPages
  tally.reported += found.reportedPages
  tally.over += found.unchanged.length
  tally.covered += found.coveredPages
}
