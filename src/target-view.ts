import { address, formatAddress, addressOf } from './memory/address.ts'
import { permissions } from './memory/mapping.ts'
import { TidemarkError } from './kernel/errors.ts'
import type { Kernel } from './kernel/kernel.ts'

export interface TargetMapping {
  /** `0x` and 16 hex digits, as everywhere in this API's plain values. */
  readonly start: string
  readonly end: string
  readonly permissions: string
  readonly path: string
}

export interface TargetDescription {
  readonly pid: number
  readonly name: string
  readonly commandLine: string
  readonly threads: readonly number[]
  readonly mappings: readonly TargetMapping[]
}

export function describeTarget(kernel: Kernel, pid: number): TargetDescription {
  using process = kernel.openProcess(pid)
  const { name, commandLine } = process.identity()
  return {
    pid, name, commandLine,
    threads: kernel.tasks.threads(pid),
    mappings: process.mappings().map((mapping) => ({
      start: formatAddress(addressOf(mapping.start, kernel.pageShift)), end: formatAddress(addressOf(mapping.end, kernel.pageShift)),
      permissions: permissions(mapping), path: mapping.path,
    })),
  }
}

const READ_BYTES_MAX = 64 << 20

/** Bytes of a running process; shorter than asked where the memory ends. */
export function readTarget(kernel: Kernel, pid: number, from: bigint, length: number): Uint8Array {
  if (length <= 0 || length > READ_BYTES_MAX) throw new TidemarkError('usage', `cannot read ${length} bytes at once`, { hint: `1 to ${READ_BYTES_MAX}` })
  using process = kernel.openProcess(pid)
  using block = kernel.allocate(length)
  const read = process.memory.peek(address(from), length, block, 0)
  return block.bytes.slice(0, read)
}
