/**
 * `npm run bench -- forecast`: what `predict` says against what `dump` then does, over programs that differ in size, pages,
 * threads and rate of writing. The share of predictions within a factor of two is the calibration.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { dump, predict, type StrategyName } from 'tidemark'
import { startGuest } from '../tests/support/guest.ts'
import { spreadOf } from './statistics.ts'
import { renderTable } from './table.ts'

export interface ForecastPlan {
  readonly runs: number
  readonly mibs: readonly number[]
}

interface Trial {
  readonly guest: string
  readonly strategy: StrategyName
  readonly predictedNs: number
  readonly pauseNs: number
}

const RATES = [0, 2000, 20_000, 200_000]
const STRATEGIES: readonly StrategyName[] = ['stop', 'fork', 'precopy']
const WATCH_NS = 2e9

export async function benchForecast(plan: ForecastPlan): Promise<void> {
  const trials: Trial[] = []
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-forecast-'))
  try {
    for (const mib of plan.mibs) {
      for (const rate of RATES) {
        for (const kind of ['', 'thp', 'threads 4']) trials.push(...await tryGuest([String(mib), String(rate), ...kind.split(' ').filter(Boolean)], plan.runs, join(folder, 'image')))
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  report(trials)
}

async function tryGuest(args: readonly string[], runs: number, output: string): Promise<Trial[]> {
  await using guest = await startGuest('victim', args, { readyWithinMs: 120_000 })
  const trials: Trial[] = []
  for (let run = 0; run < runs; run++) {
    const { strategies } = await predict(guest.pid, { forNs: WATCH_NS })
    for (const strategy of STRATEGIES) {
      const { pauseNs } = await dump(guest.pid, { output, replace: true, strategy })
      trials.push({ guest: args.join(' '), strategy, predictedNs: strategies[strategy].pauseNs, pauseNs })
    }
    console.error(`victim ${args.join(' ')}: ${trials.slice(-3).map(({ strategy, predictedNs, pauseNs }) => `${strategy} ${(predictedNs / 1e6).toFixed(1)} ms, was ${(pauseNs / 1e6).toFixed(1)}`).join('; ')}`)
  }
  const verdict = await guest.finish(120_000)
  if (verdict.kind !== 'ok') throw new Error(`the program was harmed: ${JSON.stringify(verdict)}`)
  return trials
}

function report(trials: readonly Trial[]): void {
  const row = (name: string, some: readonly Trial[]): string[] => {
    const ratios = some.map(({ predictedNs, pauseNs }) => predictedNs / pauseNs)
    const within = ratios.filter((ratio) => ratio >= 0.5 && ratio <= 2).length
    const { median, min, max } = spreadOf(ratios)!
    return [name, String(some.length), `${Math.round((100 * within) / some.length)} %`, `${median.toFixed(2)} (${min.toFixed(2)}–${max.toFixed(2)})`]
  }
  console.log('The pause that `predict` foretold, against the one that `dump` then made\n')
  console.log(renderTable(['strategy', 'runs', 'within a factor of 2', 'foretold / made'], [
    ...STRATEGIES.map((strategy) => row(strategy, trials.filter((trial) => trial.strategy === strategy))), row('all', trials),
  ]))
}
