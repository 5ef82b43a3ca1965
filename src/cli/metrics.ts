/** What was seen last, as Prometheus reads it: text exposition format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats). */
import type { WatchSample } from '../index.ts'

export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

/** A process by its last sample, and all that it was seen to write since the beginning. */
export interface Measured {
  readonly sample: WatchSample
  readonly writtenPagesTotal: number
}

type Labels = Readonly<Record<string, string>>
type Value = readonly [labels: Labels, value: number]

interface Family {
  readonly name: string
  readonly type: 'gauge' | 'counter'
  readonly help: string
  readonly values: (measured: Measured) => readonly Value[]
}

const one = (read: (measured: Measured) => number) => (measured: Measured): readonly Value[] => [[{}, read(measured)]]
const forecast = (read: (strategy: { readonly pauseNs: number; readonly totalNs: number; readonly converges: boolean }) => number) =>
  ({ sample }: Measured): readonly Value[] => Object.entries(sample.predicted).map(([strategy, predicted]) => [{ strategy }, read(predicted)])

/** Base units, as Prometheus wants them: bytes and seconds. */
const FAMILIES: readonly Family[] = [
  { name: 'tidemark_resident_bytes', type: 'gauge', help: 'Memory of the process that is in RAM.', values: one(({ sample }) => sample.residentPages * sample.pageBytes) },
  { name: 'tidemark_swapped_bytes', type: 'gauge', help: 'Memory of the process that is swapped out.', values: one(({ sample }) => sample.swappedPages * sample.pageBytes) },
  { name: 'tidemark_written_pages_total', type: 'counter', help: 'Pages that the process wrote, each counted once for each interval between two samples.', values: one(({ writtenPagesTotal }) => writtenPagesTotal) },
  { name: 'tidemark_written_pages_per_second', type: 'gauge', help: 'Distinct pages written in the last interval, per second.', values: one(({ sample }) => sample.writtenPagesPerSecond) },
  { name: 'tidemark_written_bytes_per_second', type: 'gauge', help: 'The same in bytes: whole pages, as a snapshot would have to copy them.', values: one(({ sample }) => sample.writtenPagesPerSecond * sample.pageBytes) },
  {
    name: 'tidemark_working_set_bytes', type: 'gauge', help: 'Distinct memory written in the last 1, 10 and 60 seconds.',
    values: ({ sample: { workingSet, pageBytes } }) => [
      [{ seconds: '1' }, workingSet.in1sPages * pageBytes], [{ seconds: '10' }, workingSet.in10sPages * pageBytes], [{ seconds: '60' }, workingSet.in60sPages * pageBytes],
    ],
  },
  { name: 'tidemark_interval_seconds', type: 'gauge', help: 'Time between the last two samples.', values: one(({ sample }) => sample.elapsedNs / 1e9) },
  { name: 'tidemark_tool_cpu_ratio', type: 'gauge', help: 'Share of one processor that watching takes.', values: one(({ sample }) => sample.cost.toolCpuShare) },
  { name: 'tidemark_extra_faults_per_second', type: 'gauge', help: 'Page faults that the process takes only because it is watched.', values: one(({ sample }) => sample.cost.extraFaultsPerSecond) },
  { name: 'tidemark_slowdown_ratio', type: 'gauge', help: 'Estimated share of its time that the process loses by being watched.', values: one(({ sample }) => sample.cost.slowdownShare) },
  { name: 'tidemark_predicted_pause_seconds', type: 'gauge', help: 'How long a snapshot by this strategy would stop the process.', values: forecast(({ pauseNs }) => pauseNs / 1e9) },
  { name: 'tidemark_predicted_total_seconds', type: 'gauge', help: 'How long a snapshot by this strategy would take in all.', values: forecast(({ totalNs }) => totalNs / 1e9) },
  { name: 'tidemark_predicted_converges', type: 'gauge', help: 'Whether the rounds of a snapshot by this strategy would shrink: 1 or 0.', values: forecast(({ converges }) => (converges ? 1 : 0)) },
]

/** Every family with its HELP and TYPE, all its samples together, one line each. */
export function formatMetrics(processes: readonly Measured[]): string {
  return FAMILIES.map(({ name, type, help, values }) => {
    const lines = processes.flatMap((measured) => values(measured).map(([labels, value]) =>
      `${name}${formatLabels({ pid: String(measured.sample.pid), name: measured.sample.name, ...labels })} ${formatValue(value)}\n`))
    return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`
  }).join('')
}

function formatLabels(labels: Labels): string {
  return `{${Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`).join(',')}}`
}

function escapeLabel(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}

/** As Go's ParseFloat reads it. */
function formatValue(value: number): string {
  return Number.isFinite(value) ? String(value) : Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf'
}
