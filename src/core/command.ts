/**
 * What an administration command is: declared once, and every face (command line, HTTP, forms in a
 * chat client) makes itself from the declaration. Commands about the server itself are in `admin/`;
 * a module declares its own in its definition and says in `start` what they do.
 */
import { z } from 'zod'
import type { BareJid } from '../xmpp/jid.ts'
import { type Caller, ensureMayGive, OPERATOR, type Permission } from './command-access.ts'
import { CommandError } from './command-error.ts'
import { accountJid } from './config-types.ts'
import { expectations } from './expectations.ts'

export type { Permission } from './command-access.ts'
export { CommandError, type CommandErrorCode } from './command-error.ts'

/** How far long work has come; `total` where it is known. */
export type Progress = {
  readonly done: number
  readonly total?: number | undefined
  /** What is counted: `messages`. */
  readonly of: string
}

/** One command given, as whoever carries it out sees it. */
export interface CommandCall {
  readonly caller: Caller
  /** For long work. May be called often: faces show what they can. */
  progress(progress: Progress): void
  /** Aborted when nobody waits for the result any more; work that may stop half-way stops. */
  readonly signal: AbortSignal
}

/** A call of the operator's that nobody watches. */
export const UNWATCHED: CommandCall = {
  caller: OPERATOR,
  progress() {},
  signal: new AbortController().signal,
}

export type Declaration<Args extends z.ZodObject, Result extends z.ZodType> = {
  /** Words from general to special: `account register`. */
  readonly name: string
  /** One sentence without full stop. */
  readonly description: string
  readonly permission: Permission
  /** The command tells about a running server, and means nothing without one. */
  readonly needsServer: boolean
  /** Arguments are text on a command line, so each schema takes (among others) strings. */
  readonly args: Args
  /** Arguments that a command line takes by place, in this order; the others are options. */
  readonly positional: readonly (keyof z.input<Args> & string)[]
  /** An argument that is asked for, not shown, where it is not given. */
  readonly secret?: keyof z.input<Args> & string
  /** An argument for which a command line takes the name of a file that has it; `-` for its input. */
  readonly file?: keyof z.input<Args> & string
  /**
   * An argument that names a file or directory where the server is, for the server to use. On a command
   * line relative paths start where that is given; from elsewhere only plain names come.
   */
  readonly path?: keyof z.input<Args> & string
  /** Arguments as typed behind the command's name. */
  readonly examples: readonly string[]
  /** Plain values: the result travels as JSON. */
  readonly result: Result
  /** The result for people to read. */
  text(result: z.output<Result>): string
}

/** A declaration whose faces need not know its types. */
export interface DeclaredCommand<
  Args extends z.ZodObject = z.ZodObject,
  Result extends z.ZodType = z.ZodType,
> extends Omit<Declaration<Args, Result>, 'positional' | 'secret' | 'file' | 'path' | 'text'> {
  readonly positional: readonly string[]
  readonly secret?: string
  readonly file?: string
  readonly path?: string
  /** Arguments that say whose domain it is about: those that are domains, accounts or sessions. */
  readonly subjects: readonly string[]
  /** Of these, those that are accounts. */
  readonly accounts: readonly string[]
  /** Throws CommandError `invalid`, naming everything that is wrong with the arguments. */
  check(args: unknown): void
  /** Of a result that came from `run`, or over the wire. */
  text(result: unknown): string
}

/** What a command does. Throws CommandError. */
export type CommandHandler<Args extends z.ZodObject, Result extends z.ZodType> = (
  args: z.output<Args>,
  call: CommandCall,
) => z.input<Result> | Promise<z.input<Result>>

export function declareCommand<Args extends z.ZodObject, Result extends z.ZodType>(
  declaration: Declaration<Args, Result>,
): DeclaredCommand<Args, Result> {
  const { args, result } = declaration
  return {
    ...declaration,
    subjects: subjectsOf(args),
    accounts: argumentsOf(args, ACCOUNTS),
    check: (given) => void checkedArgs(args, given),
    text: (value) => declaration.text(result.parse(value)),
  }
}

/** `core/config-types.ts` gives them these titles. */
const SUBJECTS: ReadonlySet<unknown> = new Set(['domain', 'account', 'session', 'address'])

const ACCOUNTS: ReadonlySet<unknown> = new Set(['account'])

/** Arguments that say whose domain a command is about. */
export function subjectsOf(args: z.ZodObject): string[] {
  return argumentsOf(args, SUBJECTS)
}

function argumentsOf({ shape }: z.ZodObject, titles: ReadonlySet<unknown>): string[] {
  return Object.entries(shape).flatMap(([name, schema]) => {
    const { title } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' })
    return titles.has(title) ? [name] : []
  })
}

/** The account that a command is about. */
export const accountArgument = accountJid().describe('The account, such as alice@localhost.')

const expectation = expectations({})

/** Checks the arguments and whether the caller may, carries the command out, checks the result. Throws CommandError. */
export async function carryOut<Args extends z.ZodObject, Result extends z.ZodType>(
  command: DeclaredCommand<Args, Result>,
  handler: CommandHandler<Args, Result>,
  given: { readonly args: unknown; readonly call: CommandCall },
): Promise<unknown> {
  const args = checkedArgs(command.args, given.args)
  ensureMayGive(command, args, given.call.caller)
  return command.result.parse(await handler(args, given.call))
}

/** Throws CommandError `invalid`, naming everything that is wrong. */
export function checkedArgs<Args extends z.ZodObject>(schema: Args, args: unknown): z.output<Args> {
  const parsed = schema.safeParse(args, { error: expectation })
  if (parsed.success) return parsed.data
  throw new CommandError('invalid', parsed.error.issues.map(complaint).join('; '))
}

function complaint({ code, path, message, ...issue }: z.core.$ZodIssue): string {
  if (code === 'unrecognized_keys' && 'keys' in issue) return `unknown argument ${issue.keys}`
  return `${path.length === 0 ? '' : `${path.join('.')}: `}expected ${message}`
}

/**
 * What a module does on command it does to accounts that are there: no handler has to look first. Throws
 * CommandError `not-found` for others.
 */
export function ofAccountsThere<Args extends z.ZodObject, Result extends z.ZodType>(
  { accounts: names }: DeclaredCommand<Args, Result>,
  handler: CommandHandler<Args, Result>,
  accounts: { exists(jid: BareJid): boolean | Promise<boolean> },
): CommandHandler<Args, Result> {
  if (names.length === 0) return handler
  return async (args, call) => {
    for (const name of names) {
      const jid = (args as Readonly<Record<string, BareJid | undefined>>)[name]
      if (jid === undefined || (await accounts.exists(jid))) continue
      throw new CommandError('not-found', `there is no account ${jid}`)
    }
    return handler(args, call)
  }
}

type Registered = {
  readonly command: object
  readonly run: (args: unknown, call: CommandCall) => Promise<unknown>
}

/** What modules do on command, for as long as they are loaded. */
export class ModuleCommands {
  readonly #handlers = new Map<string, readonly Registered[]>()

  /**
   * Returns the undo. Of several instances of the module that declares it, any one will do: the one
   * that came first is asked.
   */
  on<Args extends z.ZodObject, Result extends z.ZodType>(
    command: DeclaredCommand<Args, Result>,
    handler: CommandHandler<Args, Result>,
  ): () => void {
    const { name } = command
    const others = this.#handlers.get(name) ?? []
    if (others.some((other) => other.command !== command)) {
      throw new Error(`command ${name} is there already`)
    }
    const run = (args: unknown, call: CommandCall) => carryOut(command, handler, { args, call })
    const registered = { command, run }
    this.#handlers.set(name, [...others, registered])
    return () => {
      const left = (this.#handlers.get(name) ?? []).filter((other) => other !== registered)
      if (left.length === 0) this.#handlers.delete(name)
      else this.#handlers.set(name, left)
    }
  }

  has(name: string): boolean {
    return this.#handlers.has(name)
  }

  /** Throws CommandError: `unavailable` while no loaded module does this. */
  async run(name: string, args: unknown, call: CommandCall): Promise<unknown> {
    const [handler] = this.#handlers.get(name) ?? []
    if (handler) return await handler.run(args, call)
    throw new CommandError('unavailable', `the module that does "${name}" is not loaded`)
  }
}
