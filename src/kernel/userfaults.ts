import type { PageRange } from '../memory/page-range.ts'

/** A userfaultfd context of the target, open in our process; closing it undoes every registration. */
export interface Userfault extends Disposable {
  /**
   * Registers one mapping for write-protection resolved by the kernel (WP_ASYNC).
   * 'owned': another userfaultfd has it. 'refused': this kind of mapping cannot be. 'gone': the process is.
   */
  registerAsync(range: PageRange): 'registered' | 'owned' | 'refused' | 'gone'
  /** Takes the protection off a range, a piece at a time, so that no fault of the target waits long. */
  unprotect(range: PageRange): void
  /**
   * Has an anonymous mapping watched for something else than writes. Precondition: all threads stand, and stand until
   * the context is closed; closing then need not visit its pages. 'refused' where the kernel forbids it (7.3).
   */
  dropTracking(range: PageRange): 'dropped' | 'refused'
  /** Ends the tracking of a range and clears its marks. Mappings in it that are not registered are skipped. */
  unregister(range: PageRange): void
}
