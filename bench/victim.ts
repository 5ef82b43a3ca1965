import { startGuest, type Guest, type RegionInfo, type VictimFork, type VictimInfo, type VictimMark } from '../tests/support/guest.ts'

export interface VictimPlan {
  readonly mib: number
  readonly writesPerSecond: number
  readonly thp: boolean
}

/** Filling and checking go at some GiB per second, but ten times slower in memory that the host must find first. */
const MS_PER_MIB = 30
const PATIENCE_MS_MIN = 60_000

/** A running tests/guests/victim.c: it writes pages at a steady rate and measures its own stalls. */
export class Victim implements AsyncDisposable {
  readonly region: RegionInfo
  readonly pageBytes: number
  readonly #guest: Guest<VictimInfo>
  readonly #patienceMs: number

  private constructor(guest: Guest<VictimInfo>, patienceMs: number) {
    this.#guest = guest
    this.#patienceMs = patienceMs
    this.region = guest.info.regions[0]
    this.pageBytes = guest.info.pageBytes
  }

  static async start({ mib, writesPerSecond, thp }: VictimPlan): Promise<Victim> {
    const patienceMs = Math.max(PATIENCE_MS_MIN, mib * MS_PER_MIB)
    const args = [String(mib), String(writesPerSecond), ...(thp ? ['thp'] : [])]
    return new Victim(await startGuest('victim', args, { readyWithinMs: patienceMs }), patienceMs)
  }

  get pid(): number {
    return this.#guest.pid
  }

  /** What it felt since it was last asked. */
  mark(): Promise<VictimMark> {
    return this.#blame(this.#guest.ask<VictimMark>('mark'))
  }

  /** Lets it save itself the way a database does. */
  forkInside(file: string): Promise<VictimFork> {
    return this.#blame(this.#guest.ask<VictimFork>(`fork ${file}`, this.#patienceMs))
  }

  /** Lets it check every page and end. Throws VictimHarmed when it finds its memory other than it wrote it. */
  async end(): Promise<void> {
    const verdict = await this.#guest.finish(this.#patienceMs)
    switch (verdict.kind) {
      case 'ok': return
      case 'failed': throw new VictimHarmed(verdict.problem)
      case 'died': throw new VictimHarmed(`it died (${verdict.signal ?? verdict.code}) ${verdict.stderr}`)
      case 'hung': throw new VictimHarmed(`it hung for ${verdict.afterMs / 1000} s`)
    }
  }

  kill(): void {
    if (!this.#guest.ended) this.#guest.kill('SIGKILL')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#guest[Symbol.asyncDispose]()
  }

  /** One that does not answer while somebody saves it has been harmed, however it comes out. */
  async #blame<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer
    } catch (error) {
      throw new VictimHarmed(error instanceof Error ? error.message : String(error))
    }
  }
}

/** The worst a tool can do. Ends the bench with a failure. */
export class VictimHarmed extends Error {
  override readonly name = 'VictimHarmed'
}
