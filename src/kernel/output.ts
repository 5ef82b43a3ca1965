import type { Block } from './block.ts'

/** Where pages go. */
export interface PageSink {
  /** Writes bytes of a block at a place in the file; what is never written is a hole. */
  write(from: Block, at: number, length: number, fileOffset: number): void
}

/** A file being written, invisible under its final name until it is whole. Disposing it uncommitted leaves nothing behind. */
export interface Output extends PageSink, Disposable {
  /**
   * Gives the file its length and its final name. Throws when the name is taken and was not to be replaced.
   * A pipe's reader may keep us waiting: `checkAborted` is called meanwhile, and may throw.
   */
  commit(fileBytes: number, checkAborted: () => void): void
}

export interface OutputPlan {
  /** Where the file goes; `-` or a pipe receives the bytes in order once they are complete. */
  readonly path: string
  readonly replace: boolean
}
