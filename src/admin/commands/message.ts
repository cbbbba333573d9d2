import { z } from 'zod'
import type { CommandCall } from '../../core/command.ts'
import { counted } from '../../core/command-text.ts'
import { domain, sessionJid } from '../../core/config-types.ts'
import type { Outcome } from '../../core/outcome.ts'
import type { TraceItem } from '../../core/trace-item.ts'
import { type Jid, tryParseJid } from '../../xmpp/jid.ts'
import { encode } from '../../xmpp/octets.ts'
import { isStanzaKind, Stanza } from '../../xmpp/stanza.ts'
import { type Element, el } from '../../xmpp/xml.ts'
import { readElement } from '../../xmpp/xml-parser.ts'
import { type Command, CommandError, defineCommand } from '../command.ts'
import type { AdminContext } from '../context.ts'
import { ensureServed } from './domain.ts'

type Question = { readonly from: Jid; readonly to: Jid | undefined; readonly stanza: Stanza }

export interface AdminRoute {
  /** Puts a stanza on its way, and says what became of it. */
  send(stanza: Stanza, from: Jid, to: Jid): Promise<Outcome>
  /** What would become of one, and of what it would cause. */
  explain(question: Question): Promise<readonly TraceItem[]>
}

const body = z.string('a text').min(1, 'a text').max(60_000).describe('What it says.')
const subject = z.string().max(1_000).optional().describe('What it is about.')

const result = z.strictObject({
  fate: z
    .string()
    .describe('`delivered`, `stored`, `forwarded`, `answered`, `bounced` or `dropped`.'),
  by: z.string().describe('Who decided that.'),
  reason: z.string().nullable(),
})

const sendMessage = defineCommand({
  name: 'message send',
  description: 'Send a message from the server to one of its users',
  permission: 'sessions:write',
  needsServer: true,
  args: z.strictObject({
    jid: sessionJid().describe('The recipient: an account, or one of its sessions.'),
    body,
    subject,
  }),
  positional: ['jid', 'body'],
  examples: ['alice@localhost "Please change your password."'],
  result,
  text: told,
  async run({ domains, route }, { jid, body, subject }) {
    ensureServed(domains, jid.domain)
    const message = messageOf('chat', body, subject)
    return outcomeOf(await route.send(message, domainJid(jid.domain), jid))
  },
})

const announce = defineCommand({
  name: 'message announce',
  description: 'Send a message to everybody who is connected, of a domain or of all',
  permission: 'sessions:write',
  needsServer: true,
  args: z.strictObject({
    body,
    subject,
    domain: domain().optional().describe('Only to users of this domain.'),
  }),
  positional: ['body'],
  examples: ['"Back at noon"', '"Back at noon" --domain im.example.com'],
  result: z.strictObject({ sent: z.int().describe('How many sessions it was sent to.') }),
  text: ({ sent }) => `sent to ${counted(sent, 'session')}`,
  async run(context, args, call) {
    if (args.domain !== undefined) ensureServed(context.domains, args.domain)
    return { sent: await announceTo(context, args, call) }
  },
})

type Announcement = {
  readonly body: string
  readonly subject?: string | undefined
  readonly domain?: string | undefined
}

/** Resolves to the number of sessions that it was sent to. */
export async function announceTo(
  { route, sessions }: Pick<AdminContext, 'route' | 'sessions'>,
  { body, subject, domain }: Announcement,
  { progress, signal }: Pick<CommandCall, 'progress' | 'signal'>,
): Promise<number> {
  const message = messageOf('headline', body, subject)
  const isMeant = (jid: Jid) => domain === undefined || jid.domain === domain
  const recipients = [...sessions.values()].filter(({ jid }) => isMeant(jid))
  let sent = 0
  for (const { jid } of recipients) {
    if (signal.aborted) break
    await route.send(message, domainJid(jid.domain), jid)
    progress({ done: ++sent, total: recipients.length, of: 'sessions' })
  }
  return sent
}

const sendStanza = defineCommand({
  name: 'stanza send',
  description: 'Put any stanza on its way, from and to whom it says',
  permission: 'server:write',
  needsServer: true,
  args: z.strictObject({
    xml: z.string('a stanza').max(60_000).describe('A message, presence or iq with from and to.'),
  }),
  positional: ['xml'],
  examples: ["\"<message from='localhost' to='alice@localhost'><body>Hi</body></message>\""],
  result,
  text: told,
  async run({ domains, route }, { xml }) {
    const element = parsed(xml)
    const [from, to] = [tryParseJid(element.attr('from')), tryParseJid(element.attr('to'))]
    if (from === undefined || to === undefined) {
      throw new CommandError('invalid', 'xml: expected a stanza with from and to')
    }
    ensureServed(domains, from.domain)
    return outcomeOf(await route.send(Stanza.fromElement(element), from, to))
  },
})

export const messageCommands: readonly Command[] = [sendMessage, announce, sendStanza]

function parsed(xml: string): Element {
  let element: Element | undefined
  try {
    element = readElement(encode(xml), 'jabber:client')
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new CommandError('invalid', `xml: ${reason}`, { cause })
  }
  if (isStanzaKind(element.name) && element.ns === 'jabber:client') return element
  throw new CommandError('invalid', 'xml: expected a message, presence or iq')
}

function messageOf(type: string, body: string, subject: string | undefined): Stanza {
  const about = subject === undefined ? [] : [el('subject', {}, subject)]
  return Stanza.build('message', { type }, ...about, el('body', {}, body))
}

function domainJid(domain: string): Jid {
  const jid = tryParseJid(domain)
  if (jid === undefined) throw new Error(`${domain} is no domain`)
  return jid
}

function outcomeOf({ fate, by, reason }: Outcome): z.input<typeof result> {
  return { fate, by, reason: reason ?? null }
}

function told({ fate, by, reason }: z.output<typeof result>): string {
  return `${fate} by ${by}${reason === null ? '' : `: ${reason}`}`
}
