/**
 * Memory of ours that the kernel may be handed by address: mapped by us, never moved or freed by
 * the garbage collector. Everything the kernel reads or writes by address lives in one of these.
 */
export interface Block extends Disposable {
  /** Where it is in our own address space. */
  readonly address: number
  readonly bytes: Uint8Array
}
