/**
 * What an administration command is. It is declared once, in `commands.ts`; the command line, the
 * server's control socket and whatever else comes make themselves from the declaration.
 */
import type { z } from 'zod'
import type { Resource } from '../core/session.ts'
import type { BareJid } from '../xmpp/jid.ts'

/** What somebody must be allowed in order to give a command. */
export type Permission =
  | 'accounts:read'
  | 'accounts:write'
  | 'archive:write'
  | 'sessions:read'
  | 'server:read'

/** What commands work on: a server, running or merely built. */
export interface AdminContext {
  readonly version: string
  readonly domains: readonly string[]
  readonly accounts: AdminAccounts
  readonly archive: AdminArchive
  /** Empty while the server does not run. */
  readonly sessions: { readonly size: number; values(): Iterable<Resource> }
  /** Absent while the server does not run. */
  readonly running?: RunningServer | undefined
}

/** Accounts with all that hangs on them. Rejects with `PrecisError` for impossible passwords. */
export interface AdminAccounts {
  /** Creates the account and tells the modules (`register_user`). False: it exists. */
  register(jid: BareJid, password: string): Promise<boolean>
  /** Removes it with its data (`remove_user`) and ends its sessions. False: no such account. */
  remove(jid: BareJid): Promise<boolean>
  /** False: no such account. */
  setPassword(jid: BareJid, password: string): Promise<boolean>
  /** By localpart, beginning behind the localpart `after`. */
  list(
    domain: string,
    page: { readonly after?: string; readonly limit: number },
  ): Promise<readonly BareJid[]>
  count(domain: string): Promise<number>
}

export interface AdminArchive {
  /**
   * Removes messages archived before `before` (milliseconds since the epoch), of one account or of all.
   * Resolves to how many these were; `undefined` if there is no archive.
   */
  purge(before: number, owner?: BareJid): Promise<number | undefined>
}

export interface RunningServer {
  /** Milliseconds since the epoch. */
  readonly startedAt: number
  readonly listeners: readonly Listening[]
}

export type Listening = {
  /** Who connects there: `c2s`, `s2s`, … */
  readonly kind: string
  readonly address: string
  readonly port: number
  /** As configured: `starttls`, `required`, `direct`, `none`. */
  readonly tls: string
}

/**
 * - `invalid`: the arguments cannot be meant;
 * - `not-found`, `conflict`: something is missing, or there already;
 * - `unavailable`: not now.
 */
export type CommandErrorCode = 'invalid' | 'not-found' | 'conflict' | 'unavailable'

/** Told to whoever gave the command. Anything else thrown is our bug. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
  readonly code: CommandErrorCode

  constructor(code: CommandErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

type Declaration<Args extends z.ZodObject, Result extends z.ZodType> = {
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
  /** Arguments as typed behind the command's name. */
  readonly examples: readonly string[]
  /** Plain values: the result travels as JSON. */
  readonly result: Result
  /** The result for people to read. */
  text(result: z.output<Result>): string
  /** Throws CommandError. */
  run(context: AdminContext, args: z.output<Args>): Promise<z.input<Result>>
}

/** A declaration whose argument types only it knows. */
export interface Command
  extends Omit<Declaration<z.ZodObject, z.ZodType>, 'positional' | 'secret' | 'text' | 'run'> {
  readonly positional: readonly string[]
  readonly secret?: string
  /** Throws CommandError `invalid`, naming everything that is wrong with the arguments. */
  check(args: unknown): void
  /** Checks the arguments, then runs. Throws CommandError. */
  run(context: AdminContext, args: unknown): Promise<unknown>
  /** Of a result that came from `run`, or over the wire. */
  text(result: unknown): string
}

export function defineCommand<Args extends z.ZodObject, Result extends z.ZodType>(
  declaration: Declaration<Args, Result>,
): Command {
  const { args: schema, result, ...rest } = declaration
  const parse = (args: unknown) => {
    const parsed = schema.safeParse(args, { error: expectation })
    if (parsed.success) return parsed.data
    throw new CommandError('invalid', parsed.error.issues.map(complaint).join('; '))
  }
  return {
    ...rest,
    args: schema,
    result,
    check: (args) => void parse(args),
    run: async (context, args) => result.parse(await declaration.run(context, parse(args))),
    text: (value) => declaration.text(result.parse(value)),
  }
}

function complaint({ code, path, message, ...issue }: z.core.$ZodIssue): string {
  if (code === 'unrecognized_keys' && 'keys' in issue) return `unknown argument ${issue.keys}`
  return `${path.join('.')}: expected ${message}`
}

/** Messages of the schemas we write are noun phrases already. */
function expectation(issue: z.core.$ZodRawIssue): string {
  if (issue.code === 'invalid_type') return `a ${issue.expected}`
  if (issue.code === 'too_small') return `at least ${issue.minimum} characters`
  return 'another value'
}
