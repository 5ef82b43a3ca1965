import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Prediction } from '../index.ts'
import { formatPrediction } from './predict.ts'
import { painter } from './table.ts'

const forecast = { pauseNs: 1.5e6, totalNs: 2.5e8, extraMemoryBytes: 43e6, writtenBytes: 3e8, converges: true }
const prediction: Prediction = {
  pid: 42, pageBytes: 4096, measuredNs: 3e9, population: { mappings: 30, pages: 65_536, hugePages: 0, sharedPages: 0, swappedPages: 256 },
  curve: [{ ns: 8e6, pages: 150.4 }, { ns: 1e9, pages: 12_000 }],
  strategies: { stop: { ...forecast, pauseNs: 1.25e8 }, fork: forecast, precopy: { ...forecast, converges: false } },
  convergence: [1e8, 1e9].flatMap((bandwidthBytesPerSecond) => [1e6, 1e9].map((downtimeNs) => ({
    bandwidthBytesPerSecond, downtimeNs, converges: downtimeNs === 1e9, rounds: 2, sentBytes: 3e8, totalNs: 1, reachedNs: 4.2e6,
  }))),
}

test('what a snapshot would cost stands in tables that line up', () => {
  assert.deepEqual(formatPrediction(prediction, painter({ isTTY: false })), [
    'Process 42: 256 MiB to save in 30 mappings, 1.0 MiB of it swapped; watched for 3.00 s',
    '',
    'Distinct pages written',
    '  within   pages     bytes',
    '  8.00 ms    150   602 KiB',
    '  1.00 s   12000  46.9 MiB',
    '',
    'A snapshot now',
    '  strategy    pause   total  extra memory  written',
    '  stop       125 ms  250 ms      41.0 MiB  286 MiB',
    '  fork      1.50 ms  250 ms      41.0 MiB  286 MiB',
    '  precopy   1.50 ms  250 ms      41.0 MiB  286 MiB  does not converge',
    '',
    'Copying in rounds over a connection: rounds until it converges',
    '  bandwidth     down 1 ms     down 1 s',
    '  0.1 GB/s   no (4.20 ms)  2 (286 MiB)',
    '  1 GB/s     no (4.20 ms)  2 (286 MiB)',
  ])
})
