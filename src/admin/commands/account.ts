import { z } from 'zod'
import { accountArgument } from '../../core/command.ts'
import type { Caller } from '../../core/command-access.ts'
import { counted, table } from '../../core/command-text.ts'
import { domain } from '../../core/config-types.ts'
import type { BareJid } from '../../xmpp/jid.ts'
import { PrecisError } from '../../xmpp/precis.ts'
import { type Command, CommandError, defineCommand } from '../command.ts'
import type { AdminAdministrators } from './admin.ts'
import { ensureServed } from './domain.ts'

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
    page: {
      readonly after?: string
      readonly limit: number
      readonly isDisabled?: boolean | undefined
    },
  ): Promise<readonly BareJid[]>
  count(domain: string, which?: { readonly isDisabled?: boolean | undefined }): Promise<number>
  find(jid: BareJid): Promise<AdminAccount | undefined>
  /** Ends its sessions, if it is disabled. False: no such account. */
  setDisabled(jid: BareJid, isDisabled: boolean): Promise<boolean>
}

export type AdminAccount = {
  /** Milliseconds since the epoch. */
  readonly createdAt: number
  readonly isDisabled: boolean
}

const password = z.string('a password').min(1, 'a password').describe('The password.')

/** How much is read from the store at once. */
const PAGE = 1_000

/**
 * Whoever knows the password of an administrator can give every command: so those who may not give every
 * command set none. Throws CommandError `forbidden`.
 */
function ensureMayLogInAs(jid: BareJid, administrators: AdminAdministrators, caller: Caller): void {
  if (caller.role === 'admin' || !administrators.has(jid)) return
  throw new CommandError(
    'forbidden',
    `${jid} is an administrator, and gets passwords from an admin`,
  )
}

const registerAccount = defineCommand({
  name: 'account register',
  description: 'Create an account',
  permission: 'accounts:write',
  needsServer: false,
  args: z.strictObject({ jid: accountArgument, password }),
  positional: ['jid'],
  secret: 'password',
  examples: ['alice@localhost', 'alice@localhost --password "correct horse"'],
  result: z.strictObject({ jid: z.string() }),
  text: ({ jid }) => `${jid} is registered`,
  async run({ accounts, administrators, domains }, { jid, password }, { caller }) {
    ensureServed(domains, jid.domain)
    ensureMayLogInAs(jid, administrators, caller)
    const isNew = await acceptable(accounts.register(jid, password))
    if (!isNew) throw new CommandError('conflict', `${jid} exists already`)
    return { jid: jid.full }
  },
})

const removeAccount = defineCommand({
  name: 'account remove',
  description: 'Remove an account and everything kept for it',
  permission: 'accounts:write',
  needsServer: false,
  args: z.strictObject({ jid: accountArgument }),
  positional: ['jid'],
  examples: ['alice@localhost'],
  result: z.strictObject({ jid: z.string() }),
  text: ({ jid }) => `${jid} is removed`,
  async run({ accounts }, { jid }) {
    if (!(await accounts.remove(jid))) throw noAccount(jid)
    return { jid: jid.full }
  },
})

const setPassword = defineCommand({
  name: 'account password',
  description: 'Set the password of an account',
  permission: 'accounts:write',
  needsServer: false,
  args: z.strictObject({ jid: accountArgument, password }),
  positional: ['jid'],
  secret: 'password',
  examples: ['alice@localhost'],
  result: z.strictObject({ jid: z.string() }),
  text: ({ jid }) => `${jid} has a new password`,
  async run({ accounts, administrators }, { jid, password }, { caller }) {
    ensureMayLogInAs(jid, administrators, caller)
    const isThere = await acceptable(accounts.setPassword(jid, password))
    if (!isThere) throw noAccount(jid)
    return { jid: jid.full }
  },
})

/** Which accounts a command is about. */
const selection = {
  domain: domain().optional().describe('Only the accounts of this domain.'),
  disabled: z.boolean().optional().describe('Only those that are disabled.'),
}

const listAccounts = defineCommand({
  name: 'account list',
  description: 'List the accounts of a domain, or of all',
  permission: 'accounts:read',
  needsServer: false,
  args: z.strictObject({
    ...selection,
    limit: z.coerce.number().int().min(1).optional().describe('How many at most.'),
    after: z
      .string()
      .optional()
      .describe('Only those behind this localpart, in the order of localparts; with a domain.'),
  }),
  positional: ['domain'],
  examples: ['', 'im.example.com', '--disabled'],
  result: z.strictObject({ accounts: z.array(z.string()) }),
  text: ({ accounts }) => accounts.join('\n') || 'no accounts',
  async run(context, { domain, disabled, limit = Number.POSITIVE_INFINITY, after }) {
    if (domain !== undefined) ensureServed(context.domains, domain)
    else if (after !== undefined) throw new CommandError('invalid', 'after: expected a domain, too')
    const accounts: string[] = []
    for (const each of domain === undefined ? context.domains : [domain]) {
      const which = { after, isDisabled: disabled ? true : undefined }
      for await (const jid of accountsOf(context.accounts, each, which)) {
        if (accounts.length >= limit) return { accounts }
        accounts.push(jid.full)
      }
    }
    return { accounts }
  },
})

const countAccounts = defineCommand({
  name: 'account count',
  description: 'Count the accounts of a domain, or of all',
  permission: 'accounts:read',
  needsServer: false,
  args: z.strictObject({
    ...selection,
  }),
  positional: ['domain'],
  examples: ['', 'im.example.com', '--disabled'],
  result: z.strictObject({ accounts: z.int() }),
  text: ({ accounts }) => counted(accounts, 'account'),
  async run(context, { domain, disabled }) {
    if (domain !== undefined) ensureServed(context.domains, domain)
    const which = { isDisabled: disabled ? true : undefined }
    let accounts = 0
    for (const each of domain === undefined ? context.domains : [domain]) {
      accounts += await context.accounts.count(each, which)
    }
    return { accounts }
  },
})

const accountInfo = defineCommand({
  name: 'account info',
  description: 'Tell whether an account exists, and about it',
  permission: 'accounts:read',
  needsServer: false,
  args: z.strictObject({ jid: accountArgument }),
  positional: ['jid'],
  examples: ['alice@localhost'],
  result: z.strictObject({
    jid: z.string(),
    created_at: z.iso.datetime(),
    disabled: z.boolean(),
    sessions: z.int().describe('Resources that are connected.'),
  }),
  text: ({ jid, created_at, disabled, sessions }) =>
    table([
      ['account', jid],
      ['created', created_at],
      ['may log in', disabled ? 'no' : 'yes'],
      ['sessions', String(sessions)],
    ]),
  async run({ accounts, sessions }, { jid }) {
    const found = await accounts.find(jid)
    if (found === undefined) throw noAccount(jid)
    return {
      jid: jid.full,
      created_at: new Date(found.createdAt).toISOString(),
      disabled: found.isDisabled,
      sessions: sessions.of(jid.full).length,
    }
  },
})

const disableAccount = defineCommand({
  name: 'account disable',
  description: 'Lock an account: its sessions end, nobody logs in, messages wait',
  permission: 'accounts:write',
  needsServer: false,
  args: z.strictObject({ jid: accountArgument }),
  positional: ['jid'],
  examples: ['alice@localhost'],
  result: z.strictObject({ jid: z.string() }),
  text: ({ jid }) => `${jid} is disabled`,
  async run({ accounts }, { jid }) {
    if (!(await accounts.setDisabled(jid, true))) throw noAccount(jid)
    return { jid: jid.full }
  },
})

const enableAccount = defineCommand({
  name: 'account enable',
  description: 'Let a disabled account log in again',
  permission: 'accounts:write',
  needsServer: false,
  args: z.strictObject({ jid: accountArgument }),
  positional: ['jid'],
  examples: ['alice@localhost'],
  result: z.strictObject({ jid: z.string() }),
  text: ({ jid }) => `${jid} is enabled`,
  async run({ accounts }, { jid }) {
    if (!(await accounts.setDisabled(jid, false))) throw noAccount(jid)
    return { jid: jid.full }
  },
})

export const accountCommands: readonly Command[] = [
  registerAccount,
  removeAccount,
  setPassword,
  listAccounts,
  countAccounts,
  accountInfo,
  disableAccount,
  enableAccount,
]

type Which = { readonly after?: string | undefined; readonly isDisabled?: boolean | undefined }

export async function* accountsOf(
  accounts: AdminAccounts,
  domain: string,
  { after, isDisabled }: Which,
): AsyncGenerator<BareJid> {
  let begin = after
  for (;;) {
    const from = begin === undefined ? {} : { after: begin }
    const page = await accounts.list(domain, { limit: PAGE, isDisabled, ...from })
    yield* page
    begin = page.at(-1)?.local
    if (page.length < PAGE) return
  }
}

export function noAccount(jid: BareJid): CommandError {
  return new CommandError('not-found', `there is no account ${jid}`)
}

/** A password that no client could send is the caller's mistake (RFC 8265 §4). */
async function acceptable<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (cause) {
    if (!(cause instanceof PrecisError)) throw cause
    throw new CommandError('invalid', `password: ${cause.message}`, { cause })
  }
}
