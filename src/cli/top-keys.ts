/** Keys of the live view and what they mean. Node's readline makes keys of bytes, with escape sequences split or not. */
export type SortKey = 'written' | 'resident' | 'set' | 'address' | 'path'

export type TopAction =
  | { readonly kind: 'move'; readonly lines: number }
  | { readonly kind: 'page'; readonly pages: number }
  | { readonly kind: 'edge'; readonly to: 'first' | 'last' }
  | { readonly kind: 'fold'; readonly to: 'open' | 'closed' | 'other' }
  | { readonly kind: 'sort'; readonly by: SortKey | 'next' | 'reversed' }
  | { readonly kind: 'interval'; readonly to: 'longer' | 'shorter' }
  | { readonly kind: 'pause' | 'help' | 'back' | 'redraw' | 'suspend' | 'quit' }

/** As `keypress` of node:readline gives it. */
export interface Key {
  readonly name?: string | undefined
  readonly sequence?: string | undefined
  readonly ctrl?: boolean | undefined
  readonly meta?: boolean | undefined
}

const BY_NAME: Readonly<Record<string, TopAction>> = {
  up: { kind: 'move', lines: -1 }, down: { kind: 'move', lines: 1 },
  pageup: { kind: 'page', pages: -1 }, pagedown: { kind: 'page', pages: 1 },
  home: { kind: 'edge', to: 'first' }, end: { kind: 'edge', to: 'last' },
  right: { kind: 'fold', to: 'open' }, left: { kind: 'fold', to: 'closed' },
  return: { kind: 'fold', to: 'other' }, enter: { kind: 'fold', to: 'other' },
  escape: { kind: 'back' },
}

const BY_CHARACTER: Readonly<Record<string, TopAction>> = {
  'k': { kind: 'move', lines: -1 }, 'j': { kind: 'move', lines: 1 },
  'g': { kind: 'edge', to: 'first' }, 'G': { kind: 'edge', to: 'last' },
  's': { kind: 'sort', by: 'next' }, 'i': { kind: 'sort', by: 'reversed' },
  'w': { kind: 'sort', by: 'written' }, 'r': { kind: 'sort', by: 'resident' }, 'd': { kind: 'sort', by: 'set' },
  'a': { kind: 'sort', by: 'address' }, 'n': { kind: 'sort', by: 'path' },
  'p': { kind: 'pause' }, ' ': { kind: 'pause' },
  '+': { kind: 'interval', to: 'longer' }, '=': { kind: 'interval', to: 'longer' }, '-': { kind: 'interval', to: 'shorter' },
  '?': { kind: 'help' }, 'h': { kind: 'help' }, 'q': { kind: 'quit' },
}

const BY_CONTROL: Readonly<Record<string, TopAction>> = {
  c: { kind: 'quit' }, z: { kind: 'suspend' }, l: { kind: 'redraw' }, f: { kind: 'page', pages: 1 }, b: { kind: 'page', pages: -1 },
}

/** What a key asks for; undefined for one that means nothing here. */
export function actionOf({ name, sequence, ctrl, meta }: Key): TopAction | undefined {
  if (ctrl === true) return lookUp(BY_CONTROL, name)
  if (name === 'escape') return BY_NAME['escape']
  if (meta === true) return undefined
  return lookUp(BY_CHARACTER, sequence) ?? lookUp(BY_NAME, name)
}

function lookUp(table: Readonly<Record<string, TopAction>>, key: string | undefined): TopAction | undefined {
  return key !== undefined && Object.hasOwn(table, key) ? table[key] : undefined
}

/** For the screen of help: the keys, and signs that do not explain themselves. */
export const KEY_HELP: readonly (readonly [keys: string, what: string])[] = [
  ['↑ ↓  k j', 'select the line above, below'],
  ['PgUp PgDn  ^B ^F', 'a page up, down'],
  ['Home End  g G', 'the first, the last'],
  ['Enter  → ←', 'open or close: a process, or a mapping to see all of it'],
  ['s', 'sort by the next column'],
  ['w r d a n', 'sort by written/s, resident, in 10 s, address, path'],
  ['i', 'invert the order'],
  ['+ -', 'look less, more often'],
  ['p  Space', 'pause and go on; meanwhile nothing is looked at'],
  ['^Z', 'suspend; fg comes back'],
  ['^L', 'draw anew'],
  ['?  h', 'this help'],
  ['q  ^C', 'quit; the targets run on as before'],
  ['IN 10s', 'distinct memory written in the last 10 seconds'],
  ['!', 'it may be written unseen: Enter says how'],
  ['· ░ ▒ ▓ █', 'written: nothing, some, 1 %, 10 %, half of it'],
]
