import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { after, before, describe, test } from 'node:test'
import fc from 'fast-check'
import { isTidemarkError } from '../index.ts'
import { formatMetrics } from './metrics.ts'
import { MetricsServer, parseEndpoint } from './metrics-server.ts'
import { anySample, watchSample } from './top-samples.test.ts'

interface Series {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** Reads text format 0.0.4 and takes nothing that a scraper might refuse. */
function parseMetrics(text: string): Series[] {
  assert.ok(text.endsWith('\n'), 'the last line ends')
  const series: Series[] = []
  const families = new Set<string>()
  let family: { readonly name: string; type?: string } | undefined
  for (const line of text.slice(0, -1).split('\n')) {
    const help = /^# HELP ([a-zA-Z_:][\w:]*) (\S.*)$/.exec(line)
    const type = /^# TYPE ([a-zA-Z_:][\w:]*) (counter|gauge|histogram|summary|untyped)$/.exec(line)
    if (help !== null) {
      assert.ok(!families.has(help[1]!), `${help[1]} comes once`)
      assert.doesNotMatch(help[2]!.replaceAll('\\\\', '').replaceAll('\\n', ''), /\\/, 'no other escapes')
      families.add(help[1]!)
      family = { name: help[1]! }
    } else if (type !== null) {
      assert.equal(type[1], family?.name)
      assert.equal(family!.type, undefined, 'one type')
      family!.type = type[2]!
      assert.equal(type[2] === 'counter', type[1]!.endsWith('_total'), 'counters, and they alone, end in _total')
    } else series.push(parseSeries(line, family))
  }
  const identities = series.map(({ name, labels }) => JSON.stringify([name, Object.entries(labels).toSorted()]))
  assert.equal(new Set(identities).size, identities.length, 'no series twice')
  return series
}

function parseSeries(line: string, family: { readonly name: string; readonly type?: string } | undefined): Series {
  const match = /^([a-zA-Z_:][\w:]*)\{(.*)\} (NaN|[+-]Inf|[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/s.exec(line)
  assert.ok(match !== null, `no series: ${JSON.stringify(line)}`)
  assert.equal(match[1], family?.name)
  assert.ok(family?.type !== undefined, 'its type comes before')
  const labels: Record<string, string> = {}
  let rest = match[2]!
  while (rest !== '') {
    const label = /^([a-zA-Z_]\w*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,(?=.)|$)/s.exec(rest)
    assert.ok(label !== null, `no label: ${JSON.stringify(rest)}`)
    labels[label[1]!] = label[2]!.replace(/\\(.)/gs, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped))
    rest = rest.slice(label[0].length)
  }
  return { name: match[1]!, labels, value: Number(match[3]!.replace('Inf', 'Infinity')) }
}

const valueOf = (series: readonly Series[], name: string, labels: Readonly<Record<string, string>> = {}) =>
  series.find((one) => one.name === name && Object.entries(labels).every(([key, value]) => one.labels[key] === value))?.value

test('rates, sets and forecasts are there in bytes and seconds, by process', () => {
  const series = parseMetrics(formatMetrics([{ sample: watchSample(), writtenPagesTotal: 7 }, { sample: watchSample({ pid: 1, predicted: {} }), writtenPagesTotal: 1 }]))
  assert.equal(valueOf(series, 'tidemark_resident_bytes', { pid: '4242', name: 'redis-server' }), 1 << 30)
  assert.equal(valueOf(series, 'tidemark_written_pages_per_second', { pid: '4242' }), 5100)
  assert.equal(valueOf(series, 'tidemark_written_bytes_per_second', { pid: '4242' }), 5100 * 4096)
  assert.equal(valueOf(series, 'tidemark_written_pages_total', { pid: '4242' }), 7)
  assert.equal(valueOf(series, 'tidemark_working_set_bytes', { pid: '4242', seconds: '10' }), 30_000 * 4096)
  assert.equal(valueOf(series, 'tidemark_predicted_pause_seconds', { pid: '4242', strategy: 'precopy' }), 0.0019)
  assert.equal(valueOf(series, 'tidemark_predicted_pause_seconds', { pid: '1' }), undefined)
})

test('any sample is well formed, and names come back as they were', () => {
  fc.assert(fc.property(anySample(1), anySample(2), (first, second) => {
    const series = parseMetrics(formatMetrics([first, second].map((sample) => ({ sample, writtenPagesTotal: 0 }))))
    assert.equal(series.find(({ labels }) => labels['pid'] === '1')!.labels['name'], first.name)
  }))
})

test('names with quotes, backslashes and line ends are escaped', () => {
  const name = 'a"b\\n\\"\nc'
  assert.equal(parseMetrics(formatMetrics([{ sample: watchSample({ name }), writtenPagesTotal: 0 }]))[0]!.labels['name'], name)
})

test('no process, no series, but every family', () => {
  assert.deepEqual(parseMetrics(formatMetrics([])), [])
})

test('an address is :PORT on the loopback, or HOST:PORT', () => {
  assert.deepEqual(parseEndpoint(':9464'), { host: '127.0.0.1', port: 9464 })
  assert.deepEqual(parseEndpoint('0.0.0.0:80'), { host: '0.0.0.0', port: 80 })
  assert.deepEqual(parseEndpoint('[::1]:0'), { host: '::1', port: 0 })
  for (const bad of ['', '9464', ':', ':65536', ':-1', ':x', 'a:b:1', '::1:80', 'http://x:1', ':1 ']) assert.throws(() => parseEndpoint(bad), /:PORT or HOST:PORT/, bad)
})

describe('the server', () => {
  let server: MetricsServer
  before(async () => { server = await MetricsServer.listen({ host: '127.0.0.1', port: 0 }) })
  after(async () => { await server[Symbol.asyncDispose]() })

  test('serves the last look at /metrics and /json, and 404 elsewhere', async () => {
    server.show({ kind: 'sample', sample: watchSample({ writtenPages: 10 }) })
    server.show({ kind: 'sample', sample: watchSample({ writtenPages: 5 }) })
    const metrics = await fetch(`${server.url}/metrics?x=1`)
    assert.equal(metrics.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8')
    assert.equal(valueOf(parseMetrics(await metrics.text()), 'tidemark_written_pages_total'), 15)
    const json = await (await fetch(`${server.url}/json`)).json() as { schema: string; processes: unknown[] }
    assert.deepEqual([json.schema, json.processes], ['tidemark.top/1', [watchSample({ writtenPages: 5 })]])
    for (const path of ['/', '/metrics/', '/json/x', '/favicon.ico', '//metrics']) assert.equal((await fetch(server.url + path)).status, 404, path)
  })

  test('answers HEAD without a body and refuses to be written to', async () => {
    const head = await fetch(`${server.url}/metrics`, { method: 'HEAD' })
    assert.equal(head.status, 200)
    assert.equal(await head.text(), '')
    const post = await fetch(`${server.url}/metrics`, { method: 'POST', body: 'x' })
    assert.deepEqual([post.status, post.headers.get('allow')], [405, 'GET, HEAD'])
  })

  test('a process that is gone has no metrics', async () => {
    server.show({ kind: 'sample', sample: watchSample() })
    server.show({ kind: 'gone', pid: 4242 })
    assert.deepEqual(parseMetrics(await (await fetch(`${server.url}/metrics`)).text()), [])
  })

  test('a port in use is one error that says what to do', async () => {
    const port = Number(new URL(server.url).port)
    await assert.rejects(MetricsServer.listen({ host: '127.0.0.1', port }), (error) =>
      isTidemarkError(error) && error.code === 'failed' && /127\.0\.0\.1:\d+: the port is in use/.test(error.message) && /--metrics/.test(error.hint ?? ''))
    await assert.rejects(MetricsServer.listen({ host: '192.0.2.1', port: 0 }), (error) => isTidemarkError(error) && error.code === 'usage')
  })

  test('an idle reader does not keep it from ending', async () => {
    const other = await MetricsServer.listen({ host: '127.0.0.1', port: 0 })
    const idle = connect(Number(new URL(other.url).port), '127.0.0.1').on('error', () => {})
    await new Promise((resolve) => idle.once('connect', resolve))
    await other[Symbol.asyncDispose]()
    idle.destroy()
  })
})
