import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PageNumber } from '../memory/address.ts'
import type { Mapping } from '../memory/mapping.ts'
import type { MappingDetail } from '../kernel/process.ts'
import { FilterBit, shareOf } from './selection.ts'

const DEFAULT = { filter: 0x33, dontDumpToo: false }
const anonymous: Mapping = {
  start: 0 as PageNumber, end: 1 as PageNumber, readable: true, writable: true, executable: false, shared: false, offset: 0, device: '00:00', inode: 0, path: '',
}
const library: Mapping = { ...anonymous, writable: false, executable: true, device: 'fe:00', inode: 7, path: '/lib/x.so' }
const detail: MappingDetail = { dontDump: false, special: false, hugetlb: false, missingInFork: false, hasAnonymous: false, swapped: false, sharesPages: false }

test('by default a core holds private memory, nameless shared memory and the heads of programs', () => {
  assert.equal(shareOf(anonymous, detail, DEFAULT), 'whole')
  assert.equal(shareOf(library, detail, DEFAULT), 'first-page')
  assert.equal(shareOf({ ...library, offset: 4096 }, detail, DEFAULT), 'none')
  assert.equal(shareOf({ ...library, writable: true }, { ...detail, hasAnonymous: true }, DEFAULT), 'whole')
  assert.equal(shareOf({ ...library, shared: true }, detail, DEFAULT), 'none')
  assert.equal(shareOf({ ...library, shared: true, path: '/memfd:x (deleted)' }, detail, DEFAULT), 'whole')
})

test('[vdso] is always in, [vvar], [vsyscall] and device memory never', () => {
  assert.equal(shareOf({ ...anonymous, path: '[vdso]' }, { ...detail, dontDump: true }, { filter: 0, dontDumpToo: false }), 'whole')
  assert.equal(shareOf({ ...anonymous, path: '[vvar]' }, detail, DEFAULT), 'none')
  assert.equal(shareOf({ ...anonymous, path: '[vvar_vclock]' }, detail, DEFAULT), 'none')
  assert.equal(shareOf({ ...anonymous, path: '[vsyscall]' }, undefined, DEFAULT), 'none')
  assert.equal(shareOf(anonymous, { ...detail, special: true }, DEFAULT), 'none')
})

test('each bit of the filter takes out what it names', () => {
  assert.equal(shareOf(anonymous, detail, { ...DEFAULT, filter: 0x33 & ~FilterBit.anonymousPrivate }), 'none')
  assert.equal(shareOf(library, detail, { ...DEFAULT, filter: 0x33 & ~FilterBit.elfHeaders }), 'none')
  assert.equal(shareOf(library, detail, { ...DEFAULT, filter: FilterBit.filePrivate }), 'whole')
  assert.equal(shareOf(anonymous, { ...detail, hugetlb: true }, { ...DEFAULT, filter: FilterBit.anonymousPrivate }), 'none')
  assert.equal(shareOf(anonymous, { ...detail, hugetlb: true }, { ...DEFAULT, filter: FilterBit.hugetlbPrivate }), 'whole')
})

test('MADV_DONTDUMP is honoured unless asked otherwise', () => {
  assert.equal(shareOf(anonymous, { ...detail, dontDump: true }, DEFAULT), 'none')
  assert.equal(shareOf(anonymous, { ...detail, dontDump: true }, { ...DEFAULT, dontDumpToo: true }), 'whole')
})
