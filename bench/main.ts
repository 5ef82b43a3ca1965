/** `npm run bench -- [SUBJECT] [options]`: dumps (the default), tracking, forecast, pages, buffers. */
import { parseArgs } from 'node:util'
import { GuestUnavailable } from '../tests/support/guest-build.ts'
import { benchBuffers } from './buffers.ts'
import { benchForecast } from './forecast.ts'
import { benchPages } from './pages.ts'
import { compilePrograms } from './programs.ts'
import { benchTracking } from './tracking.ts'

const SUBJECTS: Readonly<Record<string, (quick: boolean) => Promise<void>>> = {
  async tracking(quick) {
    const programs = await compilePrograms()
    await benchTracking(programs, quick ? { mib: 64, roundsMs: [100], runs: 1, windowMs: 300 } : { mib: 1024, roundsMs: [100, 1000, 10_000], runs: 3, windowMs: 3000 })
    console.log(await benchBuffers(quick ? { mib: 32, runs: 1 } : { mib: 256, runs: 9 }))
  },
  async forecast(quick) {
    await benchForecast(quick ? { runs: 1, mibs: [64] } : { runs: 2, mibs: [64, 512] })
  },
  async pages(quick) {
    await benchPages(quick ? 64 : 4096, (text) => console.log(text))
  },
  async buffers(quick) {
    console.log(await benchBuffers(quick ? { mib: 32, runs: 1 } : { mib: 256, runs: 9 }))
  },
}

const [subject, ...rest] = process.argv.slice(2)
const bench = subject === undefined ? undefined : SUBJECTS[subject]
if (bench === undefined) await import('./bench.js')
else {
  try {
    const { values } = parseArgs({ args: rest, strict: true, options: { quick: { type: 'boolean' } } })
    await bench(values.quick === true)
  } catch (error) {
    console.error(error instanceof GuestUnavailable || error instanceof TypeError ? `bench: ${error.message}` : error)
    process.exitCode = error instanceof TypeError ? 2 : 1
  }
}
