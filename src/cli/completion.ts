import { Argument, Command as NewCommand, type Command, type Option } from 'commander'

/** Shell completions made from the commands themselves, so that they cannot fall behind. */
export function completionCommand(program: Command): Command {
  return new NewCommand('completion')
    .description('Print a completion script for your shell.')
    .addArgument(new Argument('<shell>', 'which shell').choices(['bash', 'zsh', 'fish']))
    .addHelpText('after', `
Examples:
  source <(tidemark completion bash)
  tidemark completion zsh > "\${fpath[1]}/_tidemark"
  tidemark completion fish > ~/.config/fish/completions/tidemark.fish`)
    .action((shell: 'bash' | 'zsh' | 'fish') => { process.stdout.write(SCRIPTS[shell](program.commands)) })
}

const visible = (command: Command): readonly Option[] => command.options.filter((option) => !option.hidden)
const flags = (command: Command): string => visible(command).flatMap(({ long, short }) => [long, short]).filter(Boolean).join(' ')
const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`

const SCRIPTS = { bash: bashScript, zsh: zshScript, fish: fishScript } as const

function bashScript(commands: readonly Command[]): string {
  const cases = commands.map((command) => {
    const choices = visible(command).filter(({ argChoices }) => argChoices).map(({ long, argChoices }) =>
      `        ${long}) COMPREPLY=($(compgen -W ${quoted(argChoices!.join(' '))} -- "$current")); return ;;\n`).join('')
    const words = [flags(command), ...command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? [])].join(' ')
    const pids = command.registeredArguments.some((argument) => argument.name() === 'pid') ? ' $(cd /proc && echo [0-9]*)' : ''
    return `    ${command.name()})\n      case "$previous" in\n${choices}        -o|--output) COMPREPLY=($(compgen -f -- "$current")); return ;;\n      esac\n      COMPREPLY=($(compgen -W "${words}${pids}" -- "$current")) ;;\n`
  }).join('')
  return `_tidemark() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]}
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W ${quoted(commands.map((command) => command.name()).join(' '))} -- "$current")); return
  fi
  case "\${COMP_WORDS[1]}" in
${cases}  esac
}
complete -F _tidemark tidemark
`
}

function zshScript(commands: readonly Command[]): string {
  const escaped = (text: string): string => text.replace(/[[\]:\\]/g, '\\$&')
  const bodies = commands.map((command) => {
    const options = visible(command).map(({ long, required, argChoices, description }) =>
      `      ${quoted(`${long}[${escaped(description)}]${required ? `:value:${argChoices ? `(${argChoices.join(' ')})` : '_files'}` : ''}`)}`)
    const positional = command.registeredArguments.map((argument) =>
      `      ${quoted(`${argument.variadic ? '*' : ''}:${argument.name()}:${argument.argChoices ? `(${argument.argChoices.join(' ')})` : argument.name() === 'pid' ? '_pids' : '_files'}`)}`)
    return `    ${command.name()}) _arguments \\\n${[...options, ...positional].join(' \\\n')} ;;\n`
  }).join('')
  const names = commands.map((command) => `    ${quoted(`${command.name()}:${escaped(command.description())}`)}`).join('\n')
  return `#compdef tidemark
_tidemark() {
  local -a commands
  commands=(
${names}
  )
  if (( CURRENT == 2 )); then _describe command commands; return; fi
  shift words; (( CURRENT-- ))
  case "$words[1]" in
${bodies}  esac
}
_tidemark "$@"
`
}

function fishScript(commands: readonly Command[]): string {
  const lines = commands.flatMap((command) => [
    `complete -c tidemark -f -n __fish_use_subcommand -a ${command.name()} -d ${quoted(command.description())}`,
    ...visible(command).map(({ long, short, required, argChoices, description }) => [
      `complete -c tidemark -n '__fish_seen_subcommand_from ${command.name()}' -l ${long!.slice(2)}`,
      short ? `-s ${short.slice(1)}` : '', required ? '-r' : '', argChoices ? `-f -a ${quoted(argChoices.join(' '))}` : '', `-d ${quoted(description)}`,
    ].filter(Boolean).join(' ')),
    ...command.registeredArguments.map((argument) =>
      `complete -c tidemark -f -n '__fish_seen_subcommand_from ${command.name()}' -a ${quoted(argument.argChoices ? argument.argChoices.join(' ') : '(__fish_complete_pids)')}`),
  ])
  return `${lines.join('\n')}\n`
}
