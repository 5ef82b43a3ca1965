import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'

const CONTROL = '/sys/class/zram-control'

/** A swap device in compressed memory, of our own, on until the end of the scope. */
export class ZramSwap implements Disposable {
  readonly #number: number

  constructor(bytes: number) {
    this.#number = Number(readFileSync(`${CONTROL}/hot_add`, 'utf8'))
    try {
      writeFileSync(`/sys/block/zram${this.#number}/disksize`, String(bytes))
      execFileSync('mkswap', [this.device], { stdio: 'pipe' })
      execFileSync('swapon', [this.device], { stdio: 'pipe' })
    } catch (error) {
      this.#remove()
      throw error
    }
  }

  get device(): string {
    return `/dev/zram${this.#number}`
  }

  [Symbol.dispose](): void {
    execFileSync('swapoff', [this.device], { stdio: 'pipe' })
    this.#remove()
  }

  #remove(): void {
    writeFileSync(`/sys/block/zram${this.#number}/reset`, '1')
    writeFileSync(`${CONTROL}/hot_remove`, String(this.#number))
  }
}

/** The reason why no such device can be had here; false if it can. */
export function zramUnavailable(): string | false {
  if (process.getuid?.() !== 0) return 'only root can make a swap device'
  return existsSync(`${CONTROL}/hot_add`) ? false : 'this kernel has no zram, or its module is not loaded'
}
