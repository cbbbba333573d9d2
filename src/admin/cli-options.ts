/** What many commands of the command line have in common. */
import { Option } from 'commander'

export function configOption(): Option {
  return new Option(
    '--config <file>',
    'configuration file; default: meerkat.toml in the current directory',
  )
}

export function jsonOption(): Option {
  return new Option('--json', 'print JSON')
}

/** Below the help of a command: lines as one types them. */
export function examples(calledAs: string, lines: readonly string[]): string {
  const typed = lines.map((line) => `  $ ${calledAs} ${line}`)
  return `\n${lines.length === 1 ? 'Example' : 'Examples'}:\n${typed.join('\n')}`
}
