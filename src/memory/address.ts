/**
 * memory/ is the vocabulary of the whole house: addresses, pages, ranges, sets, mappings.
 * It is pure: it does no I/O, knows no kernel, and is the only room that brands a number.
 */

declare const brand: unique symbol
type Brand<Value, Name extends string> = Value & { readonly [brand]: Name }

/** A byte address in the target's address space, 0 to 2^64 - 1. Never an address of ours. */
export type Address = Brand<bigint, 'Address'>

/** An address shifted right by the page shift. At most 2^52 - 1, so a double holds every one exactly. */
export type PageNumber = Brand<number, 'PageNumber'>

/**
 * How many bytes of address a page holds, as a power of two: 12, 14 or 16.
 * A fact of the running kernel (arm64 has all three), so it is passed in and never a constant.
 */
export type PageShift = Brand<number, 'PageShift'>

export function address(value: bigint): Address {
  if (value < 0n || value > 0xffff_ffff_ffff_ffffn) throw new RangeError(`not a 64-bit address: ${value}`)
  return value as Address
}

export function pageShift(pageBytes: number): PageShift {
  const shift = Math.log2(pageBytes)
  if (!Number.isInteger(shift) || shift < 12 || shift > 16) throw new RangeError(`not a page size: ${pageBytes} bytes`)
  return shift as PageShift
}

/** The page that holds the byte at `at`. */
export function pageOf(at: Address, shift: PageShift): PageNumber {
  return Number(at >> BigInt(shift)) as PageNumber
}

/** The first byte of a page. `page` may be one past the last page of the address space, whose address is 2^64. */
export function addressOf(page: PageNumber, shift: PageShift): Address {
  return (BigInt(page) << BigInt(shift)) as Address
}

/** `0x` and 16 hex digits: the form addresses have in every JSON object this project prints. */
export function formatAddress(at: bigint): string {
  return `0x${at.toString(16).padStart(16, '0')}`
}
