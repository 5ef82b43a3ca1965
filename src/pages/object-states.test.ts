import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { pageShift, type PageNumber } from '../memory/address.ts'
import type { Mapping } from '../memory/mapping.ts'
import type { MappedObject } from '../kernel/address-space.ts'
import { ObjectStates } from './object-states.ts'
import { PAGE_STATES, type PageStateName } from './report.ts'

/** Pages of an object as signs: cached, swapped, fallocated, hole, uncached (remembered by reclaim or not). */
const SHMEM = 'csf-'
const FILE = 'cuU-'
const STATES: Readonly<Record<string, PageStateName>> = { c: 'cached', s: 'swapped', f: 'fallocated', '-': 'hole', u: 'uncached', U: 'uncached', e: 'pastEnd' }

type Mincore = 'allowed' | 'forbidden' | 'missing'

/** What the kernel would say of such an object, by the table in object-states.ts, and how often it was asked. */
class DrawnObject implements MappedObject {
  readonly kind: 'file' | 'shmem'
  readonly residentPages = 0
  readonly #signs: string
  readonly #mincore: Mincore
  calls = 0

  constructor(kind: 'file' | 'shmem', signs: string, mincore: Mincore = 'allowed') {
    this.#mincore = mincore
    this.kind = kind
    this.#signs = signs
  }

  get pages(): number {
    return this.#signs.length
  }

  residence(start: number, end: number, found: { cachedPages: number; evictedPages: number }): 'counted' {
    this.calls++
    const signs = [...this.#signs.slice(start, end)]
    found.cachedPages = signs.filter((sign) => sign === 'c' || sign === 'f').length
    found.evictedPages = signs.filter((sign) => sign === 's' || sign === 'U').length
    return 'counted'
  }

  inMemory(start: number, end: number): Uint8Array | undefined {
    this.calls++
    if (this.#mincore === 'missing') return undefined
    // Of pages in swap some have a copy in the swap cache, and then count as in memory.
    const tells = (sign: string, i: number): boolean => this.#mincore === 'forbidden' || sign === 'c' || (sign === 's' && i % 3 === 0)
    return Uint8Array.from([...this.#signs.slice(start, end)].map((sign, i) => (tells(sign, i) ? 1 : 0)))
  }

  nextData(page: number): number {
    return this.#next(page, /[csuU]/)
  }

  nextHole(page: number): number {
    return this.#next(page, /[f-]/)
  }

  #next(page: number, what: RegExp): number {
    this.calls++
    const at = this.#signs.slice(page).search(what)
    return at < 0 ? this.pages : page + at
  }
}

function mappingOf(pages: number, offsetPages: number): Mapping {
  return {
    start: 1000 as PageNumber, end: (1000 + pages) as PageNumber, offset: offsetPages * 4096, readable: true, writable: true, executable: false, shared: true,
    device: '00:01', inode: 1, path: '/memfd:x (deleted)',
  }
}

/** The states of pages `from` up to `to` of a mapping that begins at the object's page `offset`. */
function told(object: MappedObject, offset: number, from: number, to: number): PageStateName[] {
  const states: PageStateName[] = []
  let at = 1000 + from
  new ObjectStates(object, mappingOf(to, offset), pageShift(4096), (start, end, state) => {
    assert.equal(start, at, 'in order, without a gap')
    assert.ok(end > start)
    for (at = start; at < end; at++) states.push(PAGE_STATES[state]!)
  }).classify(1000 + from, 1000 + to)
  assert.equal(at, 1000 + to)
  return states
}

for (const [kind, alphabet] of [['shmem', SHMEM], ['file', FILE]] as const) {
  test(`every page of a ${kind} object is told as it is, whatever lies beside it`, () => {
    const run = fc.tuple(fc.constantFrom(...alphabet), fc.integer({ min: 1, max: 40 })).map(([sign, count]) => sign.repeat(count))
    fc.assert(fc.property(fc.array(run, { maxLength: 12 }), fc.nat(20), fc.nat(60), fc.integer({ min: 1, max: 300 }), fc.constantFrom<Mincore>('allowed', 'forbidden', 'missing'), (runs, offset, from, length, mincore) => {
      const signs = runs.join('')
      const expected = [...signs.slice(offset + from, offset + from + length).padEnd(length, 'e')].map((sign) => STATES[sign])
      assert.deepEqual(told(new DrawnObject(kind, signs, mincore), offset, from, from + length), expected)
    }))
  })
}

test('what is alike is asked for once, however large', () => {
  for (const [sign, calls] of [['s', 1], ['-', 1], ['c', 3]] as const) {
    const object = new DrawnObject('shmem', sign.repeat(100_000))
    told(object, 0, 0, 100_000)
    assert.ok(object.calls <= calls, `${object.calls} calls for 100,000 pages of ${sign}`)
  }
})

test('a border costs as many questions as it takes to halve the way to it', () => {
  const object = new DrawnObject('shmem', '-'.repeat(70_001) + 's'.repeat(30_000))
  told(object, 0, 0, 100_001)
  assert.ok(object.calls <= 20, `${object.calls} calls`)
})

test('no page costs more than one question about its residence', () => {
  const object = new DrawnObject('shmem', 's-'.repeat(500))
  told(object, 0, 0, 1000)
  assert.ok(object.calls <= 1000, `${object.calls} calls for 1,000 pages`)
})

test('pages that differ cost no question each where one answers for many', () => {
  for (const [kind, signs] of [['shmem', 'c-'], ['file', 'cu']] as const) {
    const object = new DrawnObject(kind, signs.repeat(10_000))
    told(object, 0, 0, 20_000)
    assert.ok(object.calls <= 5, `${object.calls} calls for 20,000 pages`)
  }
})

test('where the kernel does not count, data is unknown, and a file\'s holes are holes', () => {
  const silent = (kind: 'file' | 'shmem', signs: string): MappedObject => Object.assign(new DrawnObject(kind, signs), { residence: () => 'unknown' as const })
  assert.deepEqual(told(silent('file', 'cu-'), 0, 0, 4), ['unknown', 'unknown', 'hole', 'pastEnd'])
  assert.deepEqual(told(silent('shmem', 'cs-f'), 0, 0, 4), ['unknown', 'unknown', 'unknown', 'unknown'])
})
