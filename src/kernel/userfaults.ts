import type { PageRange } from '../memory/page-range.ts'

/**
 * What becomes of a write to a protected page. 'async': the kernel takes the protection off and lets it pass (Linux 6.7).
 * 'sync': the thread waits until we have taken it off (Linux 5.7, shared memory from 5.19).
 */
export type WriteProtection = 'async' | 'sync'

/** A userfaultfd context of the target, open in our process; closing it undoes every registration and wakes whoever waits. */
export interface Userfault extends Disposable {
  /**
   * Registers one mapping for write-protection. Precondition: all threads stand and the range is a whole mapping.
   * 'owned': another userfaultfd has it. 'refused': this kind of mapping cannot be. 'gone': the process is.
   */
  register(range: PageRange): 'registered' | 'owned' | 'refused' | 'gone'
  /** Protects the populated pages of a range. 'unregistered' when it is not, or no longer, registered with us. */
  protect(range: PageRange): 'protected' | 'unregistered' | 'gone'
  /** Takes the protection off a range, a piece at a time, so that no fault of the target waits long. */
  unprotect(range: PageRange): void
  /**
   * 'sync' only: takes the protection off every page that a thread waits to write, and lets the thread go on.
   * Waits up to `waitNs` for the first. Returns how many there were.
   */
  serve(waitNs: number): number
  /**
   * Has an anonymous mapping watched for something else than writes. Precondition: all threads stand, and stand until
   * the context is closed; closing then need not visit its pages. 'refused' where the kernel forbids it (7.3).
   */
  dropTracking(range: PageRange): 'dropped' | 'refused'
  /** Ends the tracking of a range and clears its marks. Mappings in it that are not registered are skipped. */
  unregister(range: PageRange): void
}
