#!/usr/bin/env node
/**
 * cli/ turns words into calls of the public API and results into text: data on standard output, people's text on
 * standard error. It imports nothing of the house but index.ts; it and nobody below it prints.
 */
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { watchProcesses } from '../index.ts'
import { checkCommand } from './check.ts'
import { completionCommand } from './completion.ts'
import { dumpCommand } from './dump.ts'
import { EXIT, exitCodeOf, printError } from './exit.ts'
import { pagesCommand } from './pages.ts'
import { predictCommand } from './predict.ts'
import { topCommand } from './top.ts'

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }

const program = new Command('tidemark')
  .description('See what a running Linux process writes, keep any moment of it, and bring that moment back.')
  .version(version)
  .exitOverride()
  .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'tidemark: ')) })
  .configureHelp({ showGlobalOptions: true })
  .addHelpText('after', `
Examples:
  tidemark check                       what this machine can do, and what is missing
  tidemark dump 4242 -o app.core       a core file of process 4242, which keeps running
  gdb -c app.core                      look at it
  tidemark pages 4242                  what each of its pages is: in memory, in swap, cached …
  tidemark predict 4242                what a snapshot would cost it
  tidemark top 4242                    what it writes, live

Exit codes: 0 done, 1 failed, 2 usage, 3 not permitted, 4 this kernel cannot, 5 target gone,
6 done but consistency unproven, 7 pause budget missed, 124 timed out, 130/143 interrupted.`)

program.addCommand(inherit(checkCommand()))
program.addCommand(inherit(dumpCommand()))
program.addCommand(inherit(pagesCommand()))
program.addCommand(inherit(predictCommand()))
program.addCommand(inherit(topCommand(watchProcesses)))
program.addCommand(inherit(completionCommand(program)))

/** Errors of the words themselves end with our exit code for usage and one line, in every command. */
function inherit(command: Command): Command {
  return command.exitOverride().copyInheritedSettings(program)
}

process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? EXIT.done : EXIT.failed))

try {
  if (process.argv.length <= 2) program.help()
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? EXIT.done : EXIT.usage
  else {
    printError(error)
    process.exitCode = exitCodeOf(error)
  }
}
