/** What travels between a session and its engine: values only, no classes. */
import type { ErrorCode } from './kernel/errors.ts'
import { isTidemarkError, TidemarkError } from './kernel/errors.ts'
import type { DumpEvent } from './snapshot/capture.ts'
import type { DumpPlan } from './snapshot/dump.ts'
import type { TrackingOptions } from './tracking/tracking.ts'
import type { PredictPlan } from './watch/prediction.ts'
import type { WatchOptions } from './watch/watch.ts'

export type Request =
  | { readonly kind: 'capabilities' }
  | { readonly kind: 'dump'; readonly plan: DumpPlan }
  | { readonly kind: 'track'; readonly pid: number; readonly options: TrackingOptions }
  | { readonly kind: 'collect' | 'untrack'; readonly pid: number }
  | { readonly kind: 'watch'; readonly pid: number; readonly options: WatchOptions }
  | { readonly kind: 'look' | 'unwatch'; readonly pid: number }
  | { readonly kind: 'predict'; readonly plan: PredictPlan }
  | { readonly kind: 'describe'; readonly pid: number }
  | { readonly kind: 'read'; readonly pid: number; readonly address: bigint; readonly length: number }

export type Answer =
  | { readonly kind: 'event'; readonly event: DumpEvent }
  | { readonly kind: 'done'; readonly value: unknown }
  | { readonly kind: 'failed'; readonly error: EncodedError }

export interface EncodedError {
  readonly code: ErrorCode | undefined
  readonly message: string
  readonly stack: string | undefined
  readonly operation: string | undefined
  readonly pid: number | undefined
  readonly errno: string | undefined
  readonly hint: string | undefined
}

export function encodeError(error: unknown): EncodedError {
  const plain = error instanceof Error ? error : new Error(String(error))
  const typed = isTidemarkError(error) ? error : undefined
  return {
    code: typed?.code, message: plain.message, stack: plain.stack,
    operation: typed?.operation, pid: typed?.pid, errno: typed?.errno, hint: typed?.hint,
  }
}

/** A bug of ours comes back as an ordinary Error with the engine's stack. */
export function decodeError({ code, message, stack, ...facts }: EncodedError): Error {
  if (code === undefined) return Object.assign(new Error(message), { stack })
  const present = Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== undefined))
  return new TidemarkError(code, message, present)
}
