import { z } from 'zod'
import { addressScope } from '../../core/config-types.ts'
import { type Jid, tryParseJid } from '../../xmpp/jid.ts'
import { encode } from '../../xmpp/octets.ts'
import { CLIENT_NS, isStanzaKind, Stanza } from '../../xmpp/stanza.ts'
import type { Element } from '../../xmpp/xml.ts'
import { readElement } from '../../xmpp/xml-parser.ts'
import { type Command, CommandError, defineCommand } from '../command.ts'
import { plain } from '../stream-command.ts'
import { toJson, traced } from '../streams/trace-item.ts'
import { traceText } from '../streams/trace-text.ts'

const explain = defineCommand({
  name: 'explain',
  description: 'Tell what would become of a stanza, without doing it',
  permission: 'server:content',
  needsServer: true,
  args: z.strictObject({
    stanza: z.string('a stanza').min(1, 'a stanza').max(60_000).describe('The stanza, as XML.'),
    from: addressScope().optional().describe('Who sends it, in place of what it says.'),
    to: addressScope().optional().describe('Who is to get it, in place of what it says.'),
  }),
  positional: ['stanza'],
  file: 'stanza',
  examples: ['stanza.xml', '--from alice@localhost/phone --to bob@localhost -'],
  result: z.strictObject({
    stanzas: z.array(traced).describe('The stanza, then what it would cause.'),
  }),
  text: ({ stanzas }) =>
    [...stanzas.map((item) => traceText(item, plain)), 'nothing of this was done'].join('\n\n'),
  async run({ route }, { stanza, ...given }) {
    const element = elementOf(stanza)
    const from = addressOf(given.from ?? element.attr('from'), 'from')
    if (from === undefined) {
      throw new CommandError('invalid', 'from: expected an address, here or in the stanza')
    }
    const to = addressOf(given.to ?? element.attr('to'), 'to')
    const items = await route.explain({ from, to, stanza: Stanza.fromElement(element) })
    return { stanzas: items.map(toJson) }
  },
})

export const explainCommands: readonly Command[] = [explain]

function elementOf(text: string): Element {
  let element: Element
  try {
    element = readElement(encode(text.trim()), CLIENT_NS)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new CommandError('invalid', `stanza: expected one element of XML (${reason})`, { cause })
  }
  if (element.ns === CLIENT_NS && isStanzaKind(element.name)) return element
  throw new CommandError(
    'invalid',
    `stanza: expected a message, presence or iq, not <${element.name}/>`,
  )
}

function addressOf(text: string | undefined, name: string): Jid | undefined {
  if (text === undefined) return undefined
  const address = tryParseJid(text)
  if (address === undefined) throw new CommandError('invalid', `${name}: ${text} is no address`)
  return address
}
