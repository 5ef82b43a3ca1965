import { InvalidArgumentError } from 'commander'

const NS: Readonly<Record<string, number>> = { ns: 1, us: 1e3, 'µs': 1e3, ms: 1e6, s: 1e9, m: 60e9 }

const INTERVAL_NS_MIN = 50e6
const INTERVAL_NS_MAX = 3600e9

/** `5ms`, `500us`, `1.5s` in nanoseconds. */
export function parseDuration(text: string): number {
  const ns = nanosecondsOf(text)
  if (ns === 0) throw new InvalidArgumentError('every snapshot stops the target for a moment: the least is a fraction of a millisecond.')
  return ns
}

function nanosecondsOf(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m)?$/.exec(text)
  if (match === null || (match[2] === undefined && Number(match[1]) !== 0)) throw new InvalidArgumentError('give a time with its unit, such as 5ms, 500us or 2s.')
  return Number(match[1]) * NS[match[2] ?? 'ns']!
}

/** The time between two looks in nanoseconds. */
export function parseInterval(text: string): number {
  const ns = nanosecondsOf(text)
  if (ns < INTERVAL_NS_MIN || ns > INTERVAL_NS_MAX) throw new InvalidArgumentError('give a time from 50ms to 60m, such as 1s.')
  return ns
}

/** `2%` as 0.02. */
export function parseShare(text: string): number {
  const match = /^(\d+(?:\.\d+)?)%$/.exec(text)
  const share = Number(match?.[1] ?? NaN) / 100
  if (!(share > 0 && share <= 1)) throw new InvalidArgumentError('give a share above 0% up to 100%, such as 2%.')
  return share
}

export function parseCount(text: string): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('give a whole number from 1 on.')
  return value
}

export function parsePid(text: string): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < 1 || value > 0x3f_ffff) throw new InvalidArgumentError('give the number of a process.')
  return value
}

/** Bits in hexadecimal as /proc/PID/coredump_filter prints them, with or without 0x. */
export function parseBits(text: string): number {
  if (!/^(0x)?[0-9a-f]{1,8}$/i.test(text)) throw new InvalidArgumentError('give the bits in hexadecimal, such as 33 or 0x7f.')
  return Number.parseInt(text, 16)
}

export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let unit = 0
  while (bytes >= 1024 && unit < units.length - 1) {
    bytes /= 1024
    unit++
  }
  return `${bytes >= 100 || unit === 0 ? Math.round(bytes) : bytes.toFixed(1)} ${units[unit]}`
}

/** Five cells at most: `1.2G`, `840K`, `12M`, `0`. */
export function formatBytesShort(bytes: number): string {
  const units = ['', 'K', 'M', 'G', 'T', 'P']
  let unit = 0
  while (bytes >= 1000 && unit < units.length - 1) {
    bytes /= 1024
    unit++
  }
  return `${bytes >= 9.95 || unit === 0 ? Math.round(bytes) : bytes.toFixed(1)}${units[unit]}`
}

const COUNT = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 })

/** `5,100` */
export function formatCount(count: number): string {
  return COUNT.format(count)
}

/** `1.2 %` of 0.012. */
export function formatShare(share: number): string {
  const percent = share * 100
  if (percent > 0 && percent < 0.1) return '<0.1 %'
  return `${percent >= 9.95 ? Math.round(percent) : Number(percent.toFixed(1))} %`
}

export function formatDuration(ns: number): string {
  if (ns >= 1e9) return `${(ns / 1e9).toFixed(2)} s`
  if (ns >= 1e6) return `${(ns / 1e6).toFixed(ns >= 1e8 ? 0 : 2)} ms`
  return `${(ns / 1e3).toFixed(0)} µs`
}
