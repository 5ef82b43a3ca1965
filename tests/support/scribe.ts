import { type Guest, startGuest } from './guest.ts'
import type { JsonObject, ScribeInfo } from './guest-info.ts'

/** What became of pages since the mark: see scribe-truth.h. */
export type Fate = 'written' | 'foreign' | 'fresh' | 'zeroed' | 'dropped'

/** Pages from `start` up to but not including `end`, changed last by the command of that number. */
export interface Change {
  readonly start: number
  readonly end: number
  readonly command: number
}

export type Truth = Readonly<Record<Fate, readonly Change[]>>

export interface Region {
  readonly name: string
  readonly kind: string
  readonly start: number
  readonly end: number
}

/** The guest did nothing, and says why. */
export class CommandRefused extends Error {
  override readonly name = 'CommandRefused'
}

/** This machine has no such thing as the command needs. */
export class CommandUnavailable extends Error {
  override readonly name = 'CommandUnavailable'
}

/** Memory that was there before the region and stays behind it. */
const BORROWED = new Set(['heap', 'stack', 'data', 'bss', 'deep', 'brk'])

/** tests/guests/scribe.c: it changes its memory on command and knows what it changed. */
export class Scribe implements AsyncDisposable {
  readonly pid: number
  readonly pageShift: number
  /** Where the regions lie now, by name. */
  readonly regions = new Map<string, Region>()
  readonly #guest: Guest<ScribeInfo>
  readonly #commands = new Map<number, string>()

  private constructor(guest: Guest<ScribeInfo>) {
    this.#guest = guest
    this.pid = guest.pid
    this.pageShift = Math.log2(guest.info.pageBytes)
  }

  static async start(): Promise<Scribe> {
    return new Scribe(await startGuest('scribe'))
  }

  get ended(): boolean {
    return this.#guest.ended
  }

  /** Performs a command; resolves with its answer. Errors: CommandRefused, CommandUnavailable. */
  async perform(command: string): Promise<JsonObject> {
    const answer = await this.#guest.ask<JsonObject>(command)
    this.#commands.set(Number(answer['command']), command)
    if (typeof answer['unavailable'] === 'string') throw new CommandUnavailable(answer['unavailable'])
    if (typeof answer['refused'] === 'string') throw new CommandRefused(`"${command}": ${answer['refused']}`)
    this.#follow(command, answer)
    return answer
  }

  /** From here on {@link since} counts. */
  async mark(): Promise<void> {
    await this.#guest.ask('mark')
  }

  async since(): Promise<Truth> {
    const answer = await this.#guest.ask<JsonObject>('since')
    const changes = (fate: Fate): Change[] => (answer[fate] as unknown as [string, string, number][]).map(([start, end, command]) => ({ start: this.pageOf(start), end: this.pageOf(end), command }))
    return { written: changes('written'), foreign: changes('foreign'), fresh: changes('fresh'), zeroed: changes('zeroed'), dropped: changes('dropped') }
  }

  /** Gives up a region: unmaps it, if it was mapped for itself. */
  async release(name: string): Promise<void> {
    const region = this.regions.get(name)
    if (region !== undefined) await this.perform(`${BORROWED.has(region.kind) ? 'forget' : 'unmap'} ${name}`)
  }

  commandText(number: number): string {
    return this.#commands.get(number) ?? '?'
  }

  pageOf(address: string | bigint): number {
    return Number(BigInt(address) >> BigInt(this.pageShift))
  }

  regionAt(page: number): Region | undefined {
    return [...this.regions.values()].find(({ start, end }) => start <= page && page < end)
  }

  async finish(): Promise<void> {
    const verdict = await this.#guest.finish()
    if (verdict.kind !== 'ok') throw new Error(`the guest did not end well: ${JSON.stringify(verdict)}`)
  }

  kill(signal: NodeJS.Signals): void {
    this.#guest.kill(signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#guest[Symbol.asyncDispose]()
  }

  #follow(command: string, answer: JsonObject): void {
    const [verb, name = '', third = ''] = command.split(' ')
    if (typeof answer['start'] === 'string' && typeof answer['end'] === 'string') {
      const kind = verb === 'map' ? third : verb === 'alias' ? this.regions.get(third)?.kind ?? '' : this.regions.get(name)?.kind ?? ''
      this.regions.set(name, { name, kind, start: this.pageOf(answer['start']), end: this.pageOf(answer['end']) })
    }
    const region = this.regions.get(name)
    const whole = region !== undefined && (third === '' || command.endsWith(` 0 ${region.end - region.start}`))
    if (verb === 'forget' || (verb === 'unmap' && whole)) this.regions.delete(name)
  }
}
