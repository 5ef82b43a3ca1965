import type { Capabilities } from 'tidemark'

const WIDTH = 110
const INDENT = ' '.repeat(12)

/** What this machine can do, in a few lines, and what each strategy that cannot be had needs. */
export function describeMachine(found: Capabilities): string {
  const missing = found.capabilities.filter(({ available }) => !available)
  const ways = found.strategies.filter(({ available }) => available).map(({ strategy }) => strategy)
  const lines = [
    field('machine', `Linux ${found.kernel}, ${found.machine}, ${found.pageBytes / 1024} KiB pages, as ${found.user}`),
    field('strategies', ways.length > 0 ? ways.join(', ') : 'none of them'),
    field('features', `${found.capabilities.length - missing.length} of ${found.capabilities.length}; not here: ${missing.map(({ name }) => name).join(', ') || 'nothing'} (\`npx tidemark check\` tells more)`),
  ]
  for (const { strategy, why, remedy } of found.strategies.filter(({ available }) => !available)) lines.push(field('no ' + strategy, sentences(why, remedy)))
  return lines.join('\n')
}

function sentences(...parts: readonly string[]): string {
  return parts.filter((part) => part !== '').join('; ')
}

function field(name: string, text: string): string {
  let line = name.padEnd(INDENT.length)
  const lines: string[] = []
  for (const word of text.split(' ')) {
    if (line.length + word.length > WIDTH) {
      lines.push(line.trimEnd())
      line = INDENT
    }
    line += `${word} `
  }
  return [...lines, line.trimEnd()].join('\n')
}
