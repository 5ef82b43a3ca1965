/** The order of things around every run, the same for every tool. */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { VictimMark } from '../tests/support/guest-info.ts'
import { runCommand } from './commands.ts'
import type { Contender, Outcome, Race } from './contenders.ts'
import { awaitQuiet, BUSY_PERCENT_MAX, MemoryPeak, OtherLoad } from './load.ts'
import type { BenchOptions, PageKind } from './options.ts'
import type { Programs } from './programs.ts'
import { Victim, VictimHarmed } from './victim.ts'

/** What one contender did to one fresh victim. */
export interface Run {
  readonly contender: string
  readonly mib: number
  readonly pages: PageKind
  readonly outcome: Outcome
  readonly mark: VictimMark
  /** How much more anonymous memory the machine used at the peak. */
  readonly extraBytes: number
  /** Share of all processors that others used, before and during. */
  readonly othersBeforePercent: number
  readonly othersPercent: number
}

export interface Course {
  readonly options: BenchOptions
  readonly programs: Programs
  /** A directory of the bench's own, empty between runs. */
  readonly directory: string
  readonly signal: AbortSignal
}

export interface Heat {
  readonly mib: number
  readonly pages: PageKind
  readonly writesPerSecond: number
}

/** Beside a second copy of the victim: buffers, a Node, copies on write. */
export const SLACK_MIB = 256

/** Runs a contender, again when others disturbed it; the least disturbed run counts. That choice never looks at the result. */
export async function runQuietly(course: Course, heat: Heat, contender: Pick<Contender, 'name' | 'run'>): Promise<Run> {
  let best: Run | undefined
  for (let attempt = 0; attempt <= course.options.retries; attempt++) {
    const run = await runOnce(course, heat, contender)
    if (best === undefined || run.othersPercent < best.othersPercent) best = run
    if (best.othersPercent < BUSY_PERCENT_MAX || best.outcome.kind !== 'done') break
  }
  return best!
}

async function runOnce(course: Course, heat: Heat, contender: Pick<Contender, 'name' | 'run'>): Promise<Run> {
  const { programs, signal } = course
  const directory = join(course.directory, 'run')
  mkdirSync(directory)
  try {
    const othersBeforePercent = await awaitQuiet(course.options.quietWaitMs, signal)
    await using victim = await Victim.start({ mib: heat.mib, writesPerSecond: heat.writesPerSecond, thp: heat.pages === 'thp' })
    const kill = (): void => victim.kill()
    signal.addEventListener('abort', kill, { once: true })
    try {
      await runCommand(programs.path('warm'), [String(heat.mib + SLACK_MIB)], signal)
      const measured = await measure(contender, { victim, mib: heat.mib, programs, file: join(directory, 'image'), signal })
      await victim.end()
      return { contender: contender.name, mib: heat.mib, pages: heat.pages, othersBeforePercent, ...measured }
    } finally {
      signal.removeEventListener('abort', kill)
    }
  } catch (error) {
    // What a killed victim says on Ctrl-C is not its accusation.
    signal.throwIfAborted()
    throw error instanceof VictimHarmed ? new VictimHarmed(`${contender.name} harmed a victim of ${heat.mib} MiB (${heat.pages}): ${error.message}`) : error
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

async function measure(contender: Pick<Contender, 'run'>, race: Race): Promise<Pick<Run, 'outcome' | 'mark' | 'extraBytes' | 'othersPercent'>> {
  const load = new OtherLoad(race.victim.pid)
  using memory = new MemoryPeak()
  await race.victim.mark()
  const outcome = await contender.run(race)
  const mark = await race.victim.mark()
  return { outcome, mark, extraBytes: memory.bytes, othersPercent: load.percent() }
}
