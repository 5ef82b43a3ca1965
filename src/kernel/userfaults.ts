import type { PageRange } from '../memory/page-range.ts'

/** A userfaultfd context of the target, open in our process; closing it undoes every registration. */
export interface Userfault extends Disposable {
  /**
   * Registers one mapping for write-protection resolved by the kernel (WP_ASYNC).
   * 'owned': another userfaultfd has it. 'refused': this kind of mapping cannot be. 'gone': the process is.
   */
  registerAsync(range: PageRange): 'registered' | 'owned' | 'refused' | 'gone'
  /**
   * Takes protection and registration off a range gently, a piece at a time. Closing does so too, but in one stretch
   * that holds up every fault of the target: 25 ms per GiB of protected 4 KiB pages.
   */
  unregister(range: PageRange): void
}
