import { Command, Option } from 'commander'
import { isTidemarkError, TidemarkError, type WatchOutcome } from '../index.ts'
import { MetricsServer, parseEndpoint, type Endpoint } from './metrics-server.ts'
import { Census, EndingSignals } from './top-ending.ts'
import { Pace, type Looking } from './top-pace.ts'
import { tellPeople, viewOf } from './top-view.ts'
import { parseCount, parseInterval, parsePid, parseShare } from './units.ts'

interface Flags {
  readonly once?: boolean
  readonly json?: boolean
  readonly interval: number
  readonly count?: number
  readonly budget?: number
  readonly metrics?: Endpoint
}

/** `watchProcesses` of the library, or what stands in for it in a test. */
export type OpenWatch = (pids: readonly number[], options: { readonly budgetShare?: number }) => Promise<Looking & AsyncDisposable>

export function topCommand(open: OpenWatch): Command {
  return new Command('top')
    .description('Show live what processes write: how fast, where, and what a snapshot would cost.')
    .argument('<pid...>', 'the processes', (text: string, before: readonly number[] = []) => [...before, parsePid(text)])
    .addOption(new Option('--interval <time>', 'how long from look to look, such as 500ms').argParser(parseInterval).default(1e9, '1s'))
    .option('--count <n>', 'end after so many looks at each process', parseCount)
    .option('--once', 'one look after one interval, as a plain table on standard output')
    .option('--json', 'one JSON object a line for each look, on standard output')
    .option('--budget <share>', 'how much being watched may slow a process down, such as 2%; looks become rarer to keep it', parseShare)
    .option('--metrics <address>', 'serve Prometheus at /metrics and JSON at /json of :PORT (on the loopback) or HOST:PORT', parseEndpoint)
    .addHelpText('after', `
Examples:
  tidemark top 4242                                 a live view; ? shows its keys
  tidemark top 4242 4243 --interval 500ms           two processes, looked at twice a second
  tidemark top 4242 --once                          a plain table, once
  tidemark top 4242 --json --count 60 > 1min.jsonl  for programs: JSON Lines
  tidemark top 4242 --metrics :9464 > top.log       for Prometheus, and a line for each look

Where standard output is no terminal, each look is one line. That a process ends or executes another
program is said on standard error; when none is left, tidemark ends too.

Exit codes: 0 done (and q or Ctrl-C in the live view), 2 usage, 3 not permitted, 4 this kernel
cannot, 5 no such process, 130/143 interrupted.`)
    .action((pids: readonly number[], flags: Flags) => run([...new Set(pids)], flags, open))
}

async function run(pids: readonly number[], flags: Flags, open: OpenWatch): Promise<void> {
  if (flags.once && flags.count !== undefined) throw new TidemarkError('usage', '--once and --count contradict each other', { hint: '--once is one look' })
  const pace = new Pace(flags.interval)
  using _signals = new EndingSignals(pace)
  await using server = flags.metrics === undefined ? undefined : await MetricsServer.listen(flags.metrics)
  const opened = await openThose(pids, flags.budget === undefined ? {} : { budgetShare: flags.budget }, open)
  await using watch = opened.watch
  if (pace.ended) return
  using view = viewOf({ ...flags, pids, pace, metricsUrl: server?.url })
  const census = new Census(pids)
  const take = async (outcome: WatchOutcome): Promise<void> => {
    server?.show(outcome)
    await view.show(outcome)
    const note = census.count(outcome)
    if (note !== undefined) view.tell(note)
  }
  for (const pid of opened.gone) await take({ kind: 'gone', pid })
  const there = pids.filter((pid) => !opened.gone.includes(pid))
  for await (const outcome of pace.outcomes(watch, there, flags.once ? 1 : flags.count)) await take(outcome)
  view[Symbol.dispose]()
  const end = census.end()
  if (end !== undefined && !flags.json) tellPeople(end)
}

/** Watches the processes that there are: one that is gone already does not keep the others from it. All gone is the error of the last. */
async function openThose(pids: readonly number[], options: Parameters<OpenWatch>[1], open: OpenWatch) {
  const gone: number[] = []
  for (;;) {
    const there = pids.filter((pid) => !gone.includes(pid))
    try {
      return { watch: await open(there, options), gone }
    } catch (error) {
      const missing = isTidemarkError(error) && error.code === 'gone' ? error.pid : undefined
      if (missing === undefined || there.length === 1 || !there.includes(missing)) throw error
      gone.push(missing)
    }
  }
}
