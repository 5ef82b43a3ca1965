import { readFileSync } from 'node:fs'
import { arch, cpus, release } from 'node:os'
import { memoryField } from './load.ts'

export interface Machine {
  readonly kernel: string
  readonly arch: string
  readonly processor: string
  readonly processors: number
  readonly memoryBytes: number
  readonly thp: string
  readonly node: string
}

export function describeMachine(): Machine {
  const processors = cpus()
  return {
    kernel: release(), arch: arch(), processor: processors[0]?.model ?? 'unknown', processors: processors.length,
    memoryBytes: memoryField('MemTotal'), thp: chosen('/sys/kernel/mm/transparent_hugepage/enabled'), node: process.version,
  }
}

/** The word in brackets. */
function chosen(file: string): string {
  try {
    return /\[(\w+)\]/.exec(readFileSync(file, 'utf8'))?.[1] ?? 'unknown'
  } catch {
    return 'none'
  }
}
