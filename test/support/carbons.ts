import { type Element, el } from '../../src/xmpp/xml.ts'
import type { Client } from './client.ts'
import type { Expected } from './matcher.ts'
import type { ConnectOptions, TestServer } from './server.ts'

export const CARBONS = 'urn:xmpp:carbons:2'
const FORWARD = 'urn:xmpp:forward:0'

export async function enableCarbons(client: Client): Promise<void> {
  const answer = await client.ask('set', undefined, el('enable', { xmlns: CARBONS }))
  if (answer.attr('type') !== 'result') throw new Error(`not enabled: ${answer}`)
}

/** A client that wants copies. */
export async function connectCopied(
  server: TestServer,
  localpart: string,
  resource?: string,
  options: ConnectOptions = {},
): Promise<Client> {
  const client = await server.connect(localpart, resource, options)
  await enableCarbons(client)
  return client
}

export type Direction = 'sent' | 'received'

/** What a copy quotes; undefined for all else. */
export function quoted(message: Element, direction: Direction): Element | undefined {
  return message
    .child(direction, CARBONS)
    ?.child('forwarded', FORWARD)
    ?.child('message', 'jabber:client')
}

/** A message by its id, a copy by that of what it quotes. */
export function shownAs(message: Element): string {
  for (const direction of ['sent', 'received'] as const) {
    const original = quoted(message, direction)
    if (original !== undefined) return `${direction} ${labelOf(original)}`
  }
  return labelOf(message)
}

/** What a client has got: the messages themselves and the copies. */
export function shown(client: Client): string[] {
  return client.inbox({ name: 'message' } satisfies Expected).map(shownAs)
}

function labelOf(message: Element): string {
  const id = message.attr('id') ?? ''
  return message.attr('type') === 'error' ? `error ${id}` : id
}
