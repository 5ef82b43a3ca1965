import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'

const CONTROL = '/sys/class/zram-control'

/** The reason why no swap can be made here; false if it can. */
export function zramUnavailable(): string | false {
  if (process.getuid?.() !== 0) return 'only root can add swap'
  if (!existsSync(`${CONTROL}/hot_add`)) return 'this kernel has no zram (CONFIG_ZRAM, modprobe zram)'
  return false
}

/** A swap area in compressed memory, on a device of its own: both are gone at the end of the scope. */
export function zramSwap(mib: number): Disposable {
  // Reading this file is what adds a device; its number is what is read.
  const number = readFileSync(`${CONTROL}/hot_add`, 'utf8').trim()
  const device = `/dev/zram${number}`
  const undo: (() => void)[] = [() => writeFileSync(`${CONTROL}/hot_remove`, number)]
  const dispose = (): void => { for (const step of undo.splice(0).reverse()) step() }
  try {
    writeFileSync(`/sys/block/zram${number}/disksize`, `${mib}M`)
    undo.push(() => writeFileSync(`/sys/block/zram${number}/reset`, '1'))
    execFileSync('mkswap', [device], { stdio: 'ignore' })
    execFileSync('swapon', ['--priority', '100', device])
    undo.push(() => execFileSync('swapoff', [device]))
  } catch (error) {
    dispose()
    throw error
  }
  return { [Symbol.dispose]: dispose }
}
