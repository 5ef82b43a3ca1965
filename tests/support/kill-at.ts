/**
 * A program: takes one snapshot of a process into nothing and kills itself with SIGKILL just before its Nth operation
 * on the target. `node kill-at.js PID STRATEGY N`; when there are fewer operations it prints their number.
 */
import type { Kernel } from '#dist/kernel/kernel.js'
import type { Process } from '#dist/kernel/process.js'
import { openLinuxKernel } from '#dist/linux/linux-kernel.js'
import { Capture, CopyBuffers } from '#dist/snapshot/capture.js'
import { STRATEGIES } from '#dist/snapshot/strategies.js'
import type { StrategyName } from '#dist/snapshot/strategy.js'

const [pid, strategy, deadly] = process.argv.slice(2)
let operations = 0

/** The same object, but each call of a method counts, and the Nth is our last. */
function counted<T extends object>(object: T): T {
  return new Proxy(object, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key)
      if (typeof value !== 'function') return value
      return (...args: unknown[]): unknown => {
        operations++
        if (operations === Number(deadly)) process.kill(process.pid, 'SIGKILL')
        return Reflect.apply(value, target, args)
      }
    },
  })
}

function countedProcess(opened: Process): Process {
  const memory = counted(opened.memory)
  return new Proxy(opened, {
    get(target, key) {
      if (key === 'memory') return memory
      const value: unknown = Reflect.get(target, key)
      return typeof value === 'function' ? value.bind(target) as unknown : value
    },
  })
}

const real = openLinuxKernel()
const kernel: Kernel = { ...real, tasks: counted(real.tasks), openProcess: (target, traced) => countedProcess(real.openProcess(target, traced)) }
using target = kernel.openProcess(Number(pid))
using buffers = new CopyBuffers(kernel)
const capture = new Capture(kernel, target, { write: () => {} }, buffers, { filter: 0x33, dontDumpToo: false }, { emit: () => {}, checkAborted: () => {} })
STRATEGIES[strategy as StrategyName].take(capture, { pauseNsMax: undefined, onPauseExceeded: 'proceed', roundsMax: 3, freezeTimeoutNs: 1e9 })
process.stdout.write(`${operations}\n`)
