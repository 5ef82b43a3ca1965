import { isFileBacked, type Mapping } from '../memory/mapping.ts'
import type { AddressSpace } from '../kernel/address-space.ts'
import type { MappingKind } from './report.ts'

type Found = ReturnType<AddressSpace['object']>

/** Mappings that the kernel gives every process (arch/x86/entry/vdso, arch/arm64/kernel/vdso.c). */
const KERNELS_OWN = /^\[(vdso|vvar|vvar_vclock|vsyscall|sigpage|vectors|uprobes)\]$/
/** Memory of devices and of kernel queues such as io_uring's, as VmFlags: VM_IO and VM_PFNMAP. */
const DEVICES = ['io', 'pf']
const PRIVATE_ZEROS = '/dev/zero'

/** `object` is asked only where the rest does not tell. */
export function kindOf(mapping: Mapping, flags: ReadonlySet<string>, object: () => Found): MappingKind {
  if (flags.has('ht')) return 'hugetlb'
  if (KERNELS_OWN.test(mapping.path) || DEVICES.some((flag) => flags.has(flag))) return 'special'
  // A private mapping of /dev/zero is anonymous memory (mmap_zero() in drivers/char/mem.c), whatever its path says.
  if (!isFileBacked(mapping) || (!mapping.shared && mapping.path === PRIVATE_ZEROS)) return 'anon'
  if (mapping.path.startsWith('anon_inode:')) return 'special'
  const found = object()
  if (found.kind === 'device') return 'special'
  if (found.kind === 'refused') return found.shmem ? 'shmem' : 'file'
  return found.kind === 'hugetlb' ? 'hugetlb' : found.kind
}

/** Whether page tables of this mapping are shown: not of VM_PFNMAP (pagemap_scan_test_walk(), Linux 6.7), nor above user space. */
export function hasPageTables(mapping: Mapping, flags: ReadonlySet<string>): boolean {
  return !flags.has('pf') && mapping.path !== '[vsyscall]'
}
