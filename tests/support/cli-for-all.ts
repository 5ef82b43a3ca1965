import { chmodSync, cpSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { Scratch } from './cli.ts'
import { checkoutRoot } from './guest-build.ts'

const STRING_WIDTH = ['string-width', 'strip-ansi', 'ansi-regex', 'get-east-asian-width'].map((name) => `node_modules/${name}`)

/** A copy of the program that any user can run: the checkout may lie in somebody's private folder. */
export function installForAll(): Disposable & { readonly program: string; readonly root: string } {
  const scratch = new Scratch()
  const root = scratch.path
  for (const part of ['package.json', 'dist', 'node_modules/commander', 'node_modules/koffi', 'node_modules/xxhash-wasm', 'node_modules/@koromix', ...STRING_WIDTH]) {
    mkdirSync(join(root, part, '..'), { recursive: true })
    cpSync(join(checkoutRoot(), part), join(root, part), { recursive: true, force: true, filter: (path) => !path.includes('.test.') })
  }
  chmodSync(root, 0o755)
  return { program: join(root, 'dist/cli/main.js'), root, [Symbol.dispose]: () => scratch[Symbol.dispose]() }
}
