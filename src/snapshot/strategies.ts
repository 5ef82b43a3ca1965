import { fork } from './fork.ts'
import { precopy } from './precopy.ts'
import { stop } from './stop.ts'
import type { Strategy, StrategyName } from './strategy.ts'

/** Every strategy that can be asked for by name. */
export const STRATEGIES: Readonly<Record<StrategyName, Strategy>> = { stop, fork, precopy }
