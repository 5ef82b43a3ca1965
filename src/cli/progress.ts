import type { DumpEvent } from '../index.ts'
import { formatDuration } from './units.ts'

export interface ProgressLine {
  readonly show: (event: DumpEvent) => void
  readonly end: () => void
}

/** One line on the terminal that is written over; nothing where standard error is no terminal. Warnings stay. */
export function progressLine(): ProgressLine {
  const tty = process.stderr.isTTY
  let shown = false
  const draw = (text: string): void => {
    if (!tty) return
    process.stderr.write(`\r\x1b[K${text}`)
    shown = true
  }
  const end = (): void => {
    if (shown) process.stderr.write('\r\x1b[K')
    shown = false
  }
  return {
    end,
    show(event) {
      if (event.kind === 'warning') {
        end()
        process.stderr.write(`Warning: ${event.text}\n`)
      } else if (event.kind === 'phase') draw(`${event.phase} …`)
      else if (event.kind === 'round') draw(`round ${event.round}: ${event.pages} pages in ${formatDuration(event.ns)}`)
      else draw(`saving … ${event.populatedPages > 0 ? `${Math.min(100, Math.floor((100 * event.savedPages) / event.populatedPages))} %` : `${event.savedPages} pages`}`)
    },
  }
}
