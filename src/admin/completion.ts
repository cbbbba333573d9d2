/** Scripts that let a shell complete `meerkat`: made from the commands, asking nobody later. */

export const SHELLS = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof SHELLS)[number]

/** A command with its subcommands, as the command line has them. */
export type CompletionNode = {
  readonly name: string
  readonly description: string
  readonly options: readonly CompletionOption[]
  readonly commands: readonly CompletionNode[]
  /** What may stand first behind it, where that is one of few. */
  readonly choices?: readonly string[]
}

export type CompletionOption = {
  /** With its dashes. */
  readonly flag: string
  readonly description: string
  readonly takesValue: boolean
  readonly takesFile: boolean
  readonly choices: readonly string[]
}

export function completionScript(shell: Shell, root: CompletionNode): string {
  const paths = [...pathsOf(root, [])]
  if (shell === 'fish') return fishScript(root.name, paths)
  const script = bashScript(root.name, paths)
  // zsh has what bash calls `complete`, if it is asked to.
  return shell === 'bash' ? script : `autoload -U +X bashcompinit && bashcompinit\n${script}`
}

type Path = { readonly words: readonly string[]; readonly node: CompletionNode }

function* pathsOf(node: CompletionNode, words: readonly string[]): Generator<Path> {
  yield { words, node }
  for (const command of node.commands) yield* pathsOf(command, [...words, command.name])
}

/** Words before the cursor that are no options say where one is. */
function bashScript(name: string, paths: readonly Path[]): string {
  const cases = paths.map(({ words, node }) => {
    const offered = [
      ...node.commands.map((command) => command.name),
      ...(node.choices ?? []),
      ...node.options.map(({ flag }) => flag),
    ]
    return `    '${words.join(' ')}') words='${offered.join(' ')}' ;;`
  })
  const values = new Map<string, string>()
  for (const { node } of paths) {
    for (const { flag, choices, takesFile, takesValue } of node.options) {
      if (takesFile) values.set(flag, `COMPREPLY=($(compgen -f -- "$cur")); return`)
      else if (choices.length > 0) {
        values.set(flag, `COMPREPLY=($(compgen -W '${choices.join(' ')}' -- "$cur")); return`)
      } else if (takesValue && !values.has(flag)) values.set(flag, 'return')
    }
  }
  const groups = paths.flatMap(({ words, node }) =>
    node.commands.length > 0 && words.length > 0 ? [words.join(' ')] : [],
  )
  return `_${name}() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} path='' words='' word i
  COMPREPLY=()
  case $prev in
${[...values].map(([flag, reply]) => `    ${flag}) ${reply} ;;`).join('\n')}
  esac
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    [[ $word == -* ]] && continue
    case "$path" in
      ''${groups.map((group) => `|'${group}'`).join('')}) path="\${path:+$path }$word" ;;
    esac
  done
  case "$path" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F _${name} ${name}
`
}

function fishScript(name: string, paths: readonly Path[]): string {
  const lines = paths.flatMap(({ words, node }) => {
    const at = `complete -c ${name} -n '${[`__${name}_at`, ...words].join(' ')}'`
    return [
      ...node.commands.map(
        (command) => `${at} -f -a ${command.name} -d ${quoted(command.description)}`,
      ),
      ...(node.choices ?? []).map((choice) => `${at} -f -a ${choice}`),
      ...node.options.map((option) => `${at} ${fishOption(option)}`),
    ]
  })
  return `# The words so far, without options.
function __${name}_at
  set -l words
  for word in (commandline -opc)[2..]
    string match -q -- '-*' $word; or set -a words $word
  end
  if contains -- "$argv" ${groupsOf(paths)}
    test "$words" = "$argv"
  else
    # Behind the last word of a command everything else is an argument.
    set -l depth (count $argv)
    test (count $words) -ge $depth; and test "$words[1..$depth]" = "$argv"
  end
end

complete -c ${name} -f
${lines.join('\n')}
`
}

function groupsOf(paths: readonly Path[]): string {
  const groups = paths.filter(({ node }) => node.commands.length > 0)
  return groups.map(({ words }) => quoted(words.join(' '))).join(' ')
}

function fishOption({ flag, description, takesValue, takesFile, choices }: CompletionOption) {
  const value = takesFile ? ' -r -F' : takesValue ? ' -x' : ''
  const among = choices.length > 0 ? ` -a ${quoted(choices.join(' '))}` : ''
  return `-l ${flag.replace(/^--/, '')}${value}${among} -d ${quoted(description)}`
}

function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}
