import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PageNumber } from '../memory/address.ts'
import type { Mapping } from '../memory/mapping.ts'
import type { MappingKind } from './report.ts'
import { chooseTracker, type TrackedKind, type TrackerSupport } from './tracker.ts'

const ALL: readonly TrackedKind[] = ['anon', 'private-file', 'shared-file', 'shmem', 'hugetlb']
const FULL: TrackerSupport = { wpAsync: new Set(ALL), softDirty: false, wpSync: new Set(['anon', 'shmem', 'hugetlb']) }
const OLD: TrackerSupport = { ...FULL, wpAsync: new Set() }
const mapping = (shared = false): Mapping => ({
  start: 1 as PageNumber, end: 2 as PageNumber, offset: 0, readable: true, writable: true, executable: false, shared, device: '00:00', inode: 0, path: '',
})

function tracker(kind: MappingKind, flags: string, support: TrackerSupport, shared = false): string {
  return chooseTracker(mapping(shared), kind, new Set(flags.split(' ')), support).tracker
}

test('with WP_ASYNC every kind of memory is followed by it, but the kernel\'s own by nothing', () => {
  for (const kind of ['anon', 'file', 'shmem', 'hugetlb'] as const) assert.equal(tracker(kind, 'rd wr mw', FULL), 'wp-async')
  assert.equal(tracker('hugetlb', 'rd wr mw de ht', FULL), 'wp-async')
  assert.equal(tracker('special', 'rd mw', FULL), 'none')
})

test('what userfaultfd cannot have is compared, or followed by soft-dirty where the kernel has it', () => {
  for (const flag of ['um', 'uw', 'ui', 'de', 'mm', 'dp', 'ss']) {
    assert.equal(tracker('anon', `rd mw ${flag}`, FULL), 'compare', flag)
    assert.equal(tracker('anon', `rd mw ${flag}`, { ...FULL, softDirty: true }), 'soft-dirty', flag)
  }
  assert.equal(tracker('file', 'rd sh', FULL, true), 'none', 'a shared mapping of a file opened for reading')
})

test('before Linux 6.7 soft-dirty comes first, then protection that waits for us, where there is such', () => {
  assert.equal(tracker('anon', 'mw', { ...OLD, softDirty: true }), 'soft-dirty')
  assert.equal(tracker('anon', 'mw', OLD), 'wp-sync')
  assert.equal(tracker('file', 'mw', OLD), 'compare')
})

test('what is not followed by the best says why', () => {
  assert.equal(chooseTracker(mapping(), 'anon', new Set(['mw']), FULL).why, undefined)
  assert.match(chooseTracker(mapping(), 'anon', new Set(['mw', 'um']), FULL).why ?? '', /another userfaultfd/)
  assert.match(chooseTracker(mapping(), 'file', new Set(['mw']), OLD).why ?? '', /WP_ASYNC.*private-file/)
})
