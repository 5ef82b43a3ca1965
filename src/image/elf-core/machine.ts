/** The machines whose cores we know, and what of the format depends on them. */
export type CoreMachine = 'x86-64' | 'arm64'

interface MachineFacts {
  /** e_machine: EM_X86_64 and EM_AARCH64, include/uapi/linux/elf-em.h. */
  readonly elfMachine: number
  /** sizeof(elf_gregset_t): struct user_regs_struct has 27 words, struct user_pt_regs 34. */
  readonly registerBytes: number
  /** The LINUX notes that are register sets of a thread. Half-open, include/uapi/linux/elf.h. */
  readonly setsFrom: number
  readonly setsTo: number
}

/**
 * x86: NT_386_TLS 0x200, NT_386_IOPERM, NT_X86_XSTATE, NT_X86_SHSTK 0x204. The range ends before
 * NT_X86_XSAVE_LAYOUT 0x205, which belongs to no thread: the kernel (6.12 and newer) writes it once, after the
 * notes of the last thread.
 * arm64: NT_ARM_VFP 0x400 to NT_ARM_GCS 0x410, and room for those that will come.
 */
const facts: Readonly<Record<CoreMachine, MachineFacts>> = {
  'x86-64': { elfMachine: 62, registerBytes: 216, setsFrom: 0x200, setsTo: 0x205 },
  arm64: { elfMachine: 183, registerBytes: 272, setsFrom: 0x400, setsTo: 0x500 },
}

export function elfMachine(machine: CoreMachine): number {
  return facts[machine].elfMachine
}

export function machineOf(elf: number): CoreMachine | undefined {
  if (elf === facts['x86-64'].elfMachine) return 'x86-64'
  if (elf === facts.arm64.elfMachine) return 'arm64'
  return undefined
}

/** How many bytes the general registers of a thread take: 216 or 272. */
export function registerBytes(machine: CoreMachine): number {
  return facts[machine].registerBytes
}

/** Whether a note is a register set of the thread whose NT_PRSTATUS came last. */
export function isRegisterSet(machine: CoreMachine, owner: string, note: number): owner is 'CORE' | 'LINUX' {
  const { setsFrom, setsTo } = facts[machine]
  if (owner === 'CORE') return note === 2 // NT_FPREGSET, which the kernel calls NT_PRFPREG
  return owner === 'LINUX' && setsFrom <= note && note < setsTo
}
