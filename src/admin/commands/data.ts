import { z } from 'zod'
import type { CommandCall } from '../../core/command.ts'
import { OPERATOR } from '../../core/command-access.ts'
import { counted, table } from '../../core/command-text.ts'
import { accountJid, domain } from '../../core/config-types.ts'
import type { BareJid } from '../../xmpp/jid.ts'
import { type Command, CommandError, defineCommand } from '../command.ts'
import { accountsOf, noAccount } from './account.ts'
import { ensureServed } from './domain.ts'

export type ImportResult = {
  readonly accounts: number
  readonly existing: number
  readonly added: number
  readonly there: number
  readonly problems: readonly string[]
  readonly problemCount: number
}

/** What is kept of accounts, to files and from them. Rejects with `CommandError`. */
export interface AdminData {
  /** Writes a new file; resolves to its path. `onUser` is called once each account is in it. */
  write(
    target: Place,
    options: {
      readonly accounts: AsyncIterable<BareJid>
      readonly withKeys: boolean
      readonly onUser: () => void
      readonly signal: AbortSignal
    },
  ): Promise<string>
  /** A document of XEP-0227. */
  read(source: Place, call: Watching): Promise<ImportResult>
  /** The data directory of a Prosody. */
  readProsody(source: Place, call: Watching): Promise<ImportResult>
}

/** A path that its caller may name: absolute, or below the directory for such files. */
export type Place = { readonly path: string }

type Watching = Pick<CommandCall, 'progress' | 'signal'>

const file = z
  .string()
  .min(1)
  .max(4_096)
  .describe(
    'A file on the machine of the server. Over HTTP and from a chat client: a plain name, in `transfer` below its data directory.',
  )

const written = z.strictObject({ file: z.string(), accounts: z.int() })
const writtenText = ({ file, accounts }: z.output<typeof written>) =>
  `${counted(accounts, 'account')} in ${file}`

const exportAccounts = defineCommand({
  name: 'account export',
  description: 'Write accounts with everything kept of them into a file (XEP-0227)',
  permission: 'server:write',
  needsServer: false,
  args: z.strictObject({
    file,
    domain: domain().optional().describe('Only the accounts of this domain.'),
    jid: accountJid().optional().describe('Only this account.'),
  }),
  positional: ['file'],
  path: 'file',
  examples: [
    'all.xml',
    'school.xml --domain school.example.com',
    'alice.xml --jid alice@localhost',
  ],
  result: written,
  text: writtenText,
  async run({ data, accounts, domains }, { file, domain, jid }, call) {
    if (domain !== undefined) ensureServed(domains, domain)
    if (jid !== undefined && (await accounts.find(jid)) === undefined) throw noAccount(jid)
    const named = domain === undefined ? domains : [domain]
    let total = 1
    if (jid === undefined) {
      const counts = await Promise.all(named.map((each) => accounts.count(each)))
      total = counts.reduce((sum, count) => sum + count, 0)
    }
    async function* all(): AsyncGenerator<BareJid> {
      if (jid !== undefined) yield jid
      else for (const each of named) yield* accountsOf(accounts, each, {})
    }
    let done = 0
    const onUser = () => call.progress({ done: ++done, total, of: 'accounts' })
    const options = { accounts: all(), withKeys: true, onUser, signal: call.signal }
    const path = await data.write(placeOf(file, call), options)
    return { file: path, accounts: done }
  },
})

const accountData = defineCommand({
  name: 'account data',
  description: 'Write everything kept of one account into a file, for its owner',
  permission: 'server:write',
  needsServer: false,
  args: z.strictObject({ jid: accountJid().describe('The account.'), file }),
  positional: ['jid', 'file'],
  path: 'file',
  examples: ['alice@localhost alice.xml'],
  result: written,
  text: writtenText,
  async run({ data, accounts }, { jid, file }, call) {
    if ((await accounts.find(jid)) === undefined) throw noAccount(jid)
    async function* one(): AsyncGenerator<BareJid> {
      yield jid
    }
    const options = { accounts: one(), withKeys: false, onUser() {}, signal: call.signal }
    return { file: await data.write(placeOf(file, call), options), accounts: 1 }
  },
})

export type Imported = z.output<typeof imported>

const imported = z.strictObject({
  accounts: z.int().describe('Accounts that are new.'),
  existing: z.int().describe('Accounts that were there; their passwords stay.'),
  added: z.int().describe('Contacts, messages and all else that is new.'),
  there: z.int().describe('What was there already.'),
  problems: z.array(z.string()).describe('What was left out, and why; the first hundred.'),
  problem_count: z.int(),
})

function importedText(result: Imported): string {
  const { accounts, existing, added, there, problems, problem_count } = result
  const more = problem_count - problems.length
  return [
    table([
      ['new accounts', String(accounts)],
      ['accounts that were there', String(existing)],
      ['new contacts, messages and others', String(added)],
      ['of them there already', String(there)],
      ['left out', String(problem_count)],
    ]),
    ...problems,
    ...(more > 0 ? [`and ${more} more`] : []),
  ].join('\n')
}

function importedResult({ problemCount, problems, ...counts }: ImportResult) {
  return { ...counts, problems: [...problems], problem_count: problemCount }
}

const importAccounts = defineCommand({
  name: 'account import',
  description:
    'Bring in accounts from a file of any server (XEP-0227). What is there stays: given again, it goes on',
  permission: 'server:write',
  needsServer: false,
  args: z.strictObject({ file }),
  positional: ['file'],
  path: 'file',
  examples: ['all.xml'],
  result: imported,
  text: importedText,
  run: async ({ data }, { file }, call) =>
    importedResult(await data.read(placeOf(file, call), call)),
})

const importProsody = defineCommand({
  name: 'import prosody',
  description:
    'Bring in accounts from the data directory of a Prosody that does not run. Given again, it goes on',
  permission: 'server:write',
  needsServer: false,
  args: z.strictObject({
    directory: z
      .string()
      .min(1)
      .max(4_096)
      .describe(
        'Its `data_path`, on the machine of the server. Over HTTP and from a chat client: a plain name, in `transfer` below our data directory.',
      ),
  }),
  positional: ['directory'],
  path: 'directory',
  examples: ['/var/lib/prosody'],
  result: imported,
  text: importedText,
  run: async ({ data }, { directory }, call) =>
    importedResult(await data.readProsody(placeOf(directory, call), call)),
})

export const dataCommands: readonly Command[] = [
  exportAccounts,
  accountData,
  importAccounts,
  importProsody,
]

/** Whoever has the server's socket has its files, too; others have those that are meant for them. */
export function placeOf(path: string, { caller }: CommandCall): Place {
  const isTrusted = caller === OPERATOR
  if (!isTrusted && !/^(?!\.)[^/\\\0]+$/.test(path)) {
    throw new CommandError('invalid', 'expected a plain name, without directories')
  }
  return { path }
}
