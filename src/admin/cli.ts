/** The command line. Administration commands are made from their table. */
import { resolve } from 'node:path'
import { Argument, Command as CliCommand, CommanderError, Option } from 'commander'
import type { Progress } from '../core/command.ts'
import { CommandError } from '../core/command-error.ts'
import { configOption, examples, jsonOption } from './cli-options.ts'
import { addStorageCommands, type StorageActions } from './cli-storage.ts'
import type { Command } from './command.ts'
import { type CompletionNode, completionScript, SHELLS, type Shell } from './completion.ts'
import { type Field, fieldsOf } from './fields.ts'
import type { ProgressBar } from './progress-bar.ts'
import { SecretInputError } from './secret-input.ts'
import type { Paint, StreamCommand } from './stream-command.ts'

/** Exit codes. */
export const FINE = 0
export const FAILED = 1
export const USAGE = 2

/** What the command line can set off. Whatever these throw is told in one line, with exit code 1. */
export interface CliActions extends StorageActions {
  /** Runs a server until it is told to stop. */
  start(options: { readonly config?: string }): Promise<void>
  checkConfig(file: string | undefined, options: { readonly json: boolean }): Promise<void>
  printConfigSchema(): Promise<void>
  /** Through the running server, or else without one if the command allows that. */
  run(
    command: Command,
    args: unknown,
    options: { readonly config?: string; readonly onProgress: (progress: Progress) => void },
  ): Promise<unknown>
  /** Until interrupted, or the server stops. */
  follow(
    command: StreamCommand,
    args: unknown,
    options: { readonly config?: string; readonly onItem: (item: unknown) => Promise<void> },
  ): Promise<void>
  /** What is in a file; `-`: in the input. */
  readFile(name: string): Promise<string>
  /** A secret that was not given as an option. */
  readSecret(name: string): Promise<string>
}

export type Cli = {
  readonly version: string
  /** How people call the program here, for examples: `meerkat`. */
  readonly calledAs: string
  /** Where relative paths start. */
  readonly directory: string
  readonly commands: readonly Command[]
  readonly streams: readonly StreamCommand[]
  readonly actions: CliActions
  /** How text that goes to `stdout` is marked. */
  readonly paint: Paint
  /** A returned promise is for those who have much to write. */
  readonly stdout: (text: string) => void | Promise<void>
  readonly stderr: (text: string) => void
  /** How far long work has come. */
  readonly progress: Pick<ProgressBar, 'show' | 'clear'>
}

/** The arguments cannot be meant. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** Does what `argv` (without interpreter and script) says, and returns the exit code. */
export async function runCli(argv: readonly string[], cli: Cli): Promise<number> {
  const program = programOf(cli)
  try {
    if (argv.length === 0) program.outputHelp()
    else await program.parseAsync(argv, { from: 'user' })
    return FINE
  } catch (error) {
    // Commander has written its own.
    if (error instanceof CommanderError) return error.exitCode === 0 ? FINE : USAGE
    const isJson = argv.includes('--json')
    cli.stderr(`${isJson ? JSON.stringify(told(error)) : messageOf(error)}\n`)
    const isUsage = error instanceof UsageError || error instanceof SecretInputError
    return isUsage ? USAGE : FAILED
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** Why it was not done, for programs. */
function told(error: unknown) {
  const code = error instanceof CommandError ? error.code : 'failed'
  const isUsage = error instanceof UsageError || error instanceof SecretInputError
  return { error: { code: isUsage ? 'invalid' : code, message: messageOf(error) } }
}

function programOf(cli: Cli): CliCommand {
  const { actions, calledAs, version } = cli
  const program = new CliCommand('meerkat')
    .description('An XMPP server that loses nothing.')
    .version(version)
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => void cli.stdout(text),
      writeErr: cli.stderr,
      outputError: (text, write) => write(`${text.trim().replaceAll('\n', ' ')}\n`),
    })
    .exitOverride()
    .helpCommand(false)
    .addHelpText('after', () => examples(calledAs, ['start', 'account register alice@localhost']))

  program
    .command('start')
    .description('Run the server until it is told to stop (SIGTERM, Ctrl-C)')
    .addOption(configOption())
    .addHelpText('after', examples(calledAs, ['start', 'start --config /etc/meerkat.toml']))
    .action((options: { config?: string }) => actions.start(options))

  const config = program.command('config').description('The configuration file')
  config
    .command('check')
    .description('Tell everything that is wrong with a configuration file')
    .argument('[file]', 'the file; default: meerkat.toml in the current directory')
    .addOption(jsonOption())
    .addHelpText('after', examples(calledAs, ['config check /etc/meerkat.toml']))
    .action((file: string | undefined, options: { json?: boolean }) =>
      actions.checkConfig(file, { json: options.json ?? false }),
    )
  config
    .command('schema')
    .description('Print the JSON Schema of the configuration file, for editors')
    .addHelpText('after', examples(calledAs, ['config schema > meerkat.schema.json']))
    .action(() => actions.printConfigSchema())

  program
    .command('completion')
    .description('Print a script that lets a shell complete commands and options')
    .addArgument(new Argument('<shell>', 'whose language it is in').choices(SHELLS))
    .addHelpText(
      'after',
      examples(calledAs, [
        'completion bash > /etc/bash_completion.d/meerkat',
        'completion zsh > ~/.meerkat.zsh # and `source` it in ~/.zshrc, behind compinit',
        'completion fish > ~/.config/fish/completions/meerkat.fish',
      ]),
    )
    .action((shell: Shell) => cli.stdout(completionScript(shell, completionNode(program))))

  addStorageCommands(program, cli)
  for (const command of cli.commands) addCommand(program, command, cli)
  for (const stream of cli.streams) addStream(program, stream, cli)
  return program
}

const GROUPS: Readonly<Record<string, string>> = {
  account: 'Accounts',
  admin: 'Administrators besides those of the configuration',
  archive: 'Archives of messages',
  blacklist: 'Addresses elsewhere that nobody here communicates with',
  blocklist: 'Whom accounts have blocked',
  cluster: 'Nodes that serve the same domains',
  component: 'External components',
  domain: 'Domains of this server',
  import: 'Accounts from other servers',
  hook: 'Handlers along the route of stanzas',
  message: 'Messages from the server',
  module: 'Modules',
  motd: 'The message of the day',
  offline: 'Messages that wait for their recipients',
  outcome: 'What became of stanzas',
  privacy: 'Privacy lists of accounts',
  roster: 'Contacts of accounts',
  route: 'The route of stanzas',
  s2s: 'Connections with other servers',
  session: 'Connected clients',
  stanza: 'Stanzas',
  token: 'Tokens for the HTTP API',
  welcome: 'The message for new accounts',
  whitelist: 'The only addresses elsewhere that people here communicate with',
}

function completionNode(command: CliCommand): CompletionNode {
  const [argument] = command.registeredArguments
  return {
    name: command.name(),
    description: command.description(),
    commands: command.commands.map(completionNode),
    options: command.createHelp().visibleOptions(command).map(completionOption),
    choices: argument?.argChoices ?? [],
  }
}

function completionOption({ long, flags, description, required, argChoices }: Option) {
  return {
    flag: long ?? flags,
    description,
    takesValue: required,
    takesFile: flags.endsWith('<file>'),
    choices: argChoices ?? [],
  }
}

function addCommand(program: CliCommand, command: Command, cli: Cli): void {
  const { made, given } = declared(program, command, cli)
  made.action(async () => {
    const args = given()
    const { file } = command
    if (file !== undefined && typeof args[file] === 'string') {
      args[file] = await cli.actions.readFile(args[file])
    }
    const { path } = command
    if (path !== undefined && typeof args[path] === 'string' && args[path] !== '') {
      args[path] = resolve(cli.directory, args[path])
    }
    await complete(command, args, cli)
    const { config, json } = made.opts<{ config?: string; json?: boolean }>()
    const { progress } = cli
    const result = await cli.actions
      .run(command, args, {
        ...(config !== undefined && { config }),
        onProgress: (each) => progress.show(each),
      })
      .finally(() => progress.clear())
    await cli.stdout(`${json ? JSON.stringify(result) : command.text(result)}\n`)
  })
}

function addStream(program: CliCommand, stream: StreamCommand, cli: Cli): void {
  const { made, given } = declared(program, stream, cli)
  made.action(async () => {
    const args = given()
    ensureUsable(stream, args)
    const { config, json } = made.opts<{ config?: string; json?: boolean }>()
    await cli.actions.follow(stream, args, {
      ...(config !== undefined && { config }),
      onItem: async (item) =>
        cli.stdout(`${json ? JSON.stringify(item) : stream.text(item, cli.paint)}\n`),
    })
  })
}

type Declared = Pick<
  Command,
  'name' | 'description' | 'args' | 'positional' | 'examples' | 'secret' | 'file'
>

/** Makes the words of a command's name subcommands of one another. `given`: its arguments, as typed. */
function declared(program: CliCommand, command: Declared, cli: Cli) {
  const words = command.name.split(' ')
  const parent = words.slice(0, -1).reduce((group, word) => {
    const known = group.commands.find((candidate) => candidate.name() === word)
    return known ?? group.command(word).description(GROUPS[word] ?? word)
  }, program)

  const typed = command.examples.map((rest) => `${command.name} ${rest}`.trim())
  const made = parent
    .command(words.at(-1) ?? command.name)
    .description(command.description)
    .addHelpText('after', examples(cli.calledAs, typed))
  const fields = fieldsOf(command.args)
  for (const name of command.positional) {
    const positional = fields.find((candidate) => candidate.name === name)
    if (positional) made.addArgument(argumentFor(positional, command))
  }
  const options = fields
    .filter(({ name }) => !command.positional.includes(name))
    .map((each) => ({ name: each.name, option: optionFor(each, command) }))
  for (const { option } of options) made.addOption(option)
  made.addOption(configOption()).addOption(jsonOption())

  const given = () => {
    const args: Record<string, unknown> = {}
    for (const [i, name] of command.positional.entries()) {
      if (made.processedArgs[i] !== undefined) args[name] = made.processedArgs[i]
    }
    for (const { name, option } of options) {
      const value: unknown = made.getOptionValue(option.attributeName())
      if (value !== undefined) args[name] = value
    }
    return args
  }
  return { made, given }
}

/** Asks for the secret if it is missing; what else is wrong is told before. */
async function complete(
  command: Command,
  args: Record<string, unknown>,
  { actions }: Cli,
): Promise<void> {
  const { secret } = command
  const isMissing = secret !== undefined && args[secret] === undefined
  ensureUsable(command, isMissing ? { ...args, [secret]: 'to be asked for' } : args)
  if (isMissing) args[secret] = await actions.readSecret(secret)
}

function ensureUsable(command: Pick<Command, 'check'>, args: unknown): void {
  try {
    command.check(args)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new UsageError(`error: ${reason}`, { cause })
  }
}

function argumentFor({ name, description, isRequired, type }: Field, { file }: Declared): Argument {
  const shown = name === file ? 'file' : name
  const note = name === file ? ' In this file; - for the input.' : ''
  const argument = new Argument(isRequired ? `<${shown}>` : `[${shown}]`, description + note)
  return type === 'number' ? argument.argParser(Number) : argument
}

function optionFor(
  { name, description, isRequired, type, choices }: Field,
  { secret }: Declared,
): Option {
  const flag = `--${name.replaceAll('_', '-')}`
  const note = name === secret ? ' Other users may see it here; without, it is asked for.' : ''
  const option = new Option(type === 'flag' ? flag : `${flag} <${name}>`, description + note)
  if (type === 'number') option.argParser(Number)
  if (choices !== undefined) option.choices(choices)
  return option.makeOptionMandatory(isRequired && name !== secret)
}
