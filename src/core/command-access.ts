/** Who may give which command, about which domains. */
import { tryParseJid } from '../xmpp/jid.ts'
import { CommandError } from './command-error.ts'

/** What a command is about. */
export type Area =
  | 'accounts'
  | 'archive'
  | 'messages'
  | 'offline'
  | 'privacy'
  | 'roster'
  | 'sessions'
  | 'server'
  | 'tokens'

/**
 * What somebody must be allowed in order to give a command. `write` changes something; `content`
 * shows what users wrote.
 */
export type Permission = `${Area}:${'read' | 'write' | 'content'}`

export const ROLES = ['admin', 'domain-admin', 'read-only'] as const

/**
 * - `admin`: everything;
 * - `domain-admin`: what concerns the users of some domains;
 * - `read-only`: what changes nothing and shows nobody's messages.
 */
export type Role = (typeof ROLES)[number]

/** Whoever gives commands. */
export type Caller = {
  /** For logs: `token 4fz1`, `alice@example.com`. */
  readonly name: string
  readonly role: Role
  /** Only commands about these, which must then name one; all if absent. */
  readonly domains?: readonly string[] | undefined
}

/** Whoever can open the server's socket, and so its data. */
export const OPERATOR: Caller = { name: 'operator', role: 'admin' }

/** What is said of the users of one domain, and so is for who administers that domain. */
const AREAS_OF_DOMAINS: ReadonlySet<string> = new Set([
  'accounts',
  'archive',
  'messages',
  'offline',
  'privacy',
  'roster',
  'sessions',
])

type Asked = {
  readonly permission: Permission
  /** Arguments that say whose domain it is about. */
  readonly subjects: readonly string[]
}

/** Whether somebody may give a command at all, with whatever arguments. */
export function mayEverGive({ permission, subjects }: Asked, { role, domains }: Caller): boolean {
  const [area = '', action] = permission.split(':')
  if (role === 'read-only' && action !== 'read') return false
  if (role === 'domain-admin' && !AREAS_OF_DOMAINS.has(area)) return false
  // Fails closed: a domain admin without domains has none.
  if (role === 'domain-admin' && domains === undefined) return false
  return domains === undefined || subjects.length > 0
}

/** Of arguments that were checked. Throws CommandError `forbidden`. */
export function ensureMayGive(
  command: Asked & { readonly name: string },
  args: Readonly<Record<string, unknown>>,
  caller: Caller,
): void {
  if (!mayEverGive(command, caller)) {
    throw new CommandError('forbidden', `${caller.role} may not give the command ${command.name}`)
  }
  const { domains } = caller
  if (domains === undefined) return
  const named = command.subjects.map((name) => args[name]).filter((value) => value !== undefined)
  if (named.length === 0) {
    throw new CommandError(
      'forbidden',
      `expected one of ${command.subjects.join(', ')}: whom it is about`,
    )
  }
  for (const value of named) {
    const domain = domainOf(value)
    if (domain !== undefined && domains.includes(domain)) continue
    throw new CommandError('forbidden', `only for ${domains.join(', ')}`)
  }
}

function domainOf(value: unknown): string | undefined {
  if (typeof value === 'string') return tryParseJid(value)?.domain
  if (typeof value !== 'object' || value === null || !('domain' in value)) return undefined
  return typeof value.domain === 'string' ? value.domain : undefined
}
