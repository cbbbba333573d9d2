import { setTimeout } from 'node:timers/promises'
import { type Element, el } from '../../src/xmpp/xml.ts'
import type { Client } from './client.ts'
import { type ConnectOptions, PASSWORD, type TestServer } from './server.ts'

export const SM_NS = 'urn:xmpp:sm:3'

/** Settings for clients of which thousands of errors wait to be read. */
export const PATIENT_WITH_CLIENTS = {
  stream_management: { max_unacknowledged: 50_000, max_unacknowledged_bytes: '64MiB' },
} as const

const answered = (name: string) => (element: Element) =>
  element.ns === SM_NS && (element.name === name || element.name === 'failed')

/** Sends `<enable/>`, which asks for resumption unless told otherwise, and takes the answer. */
export async function enable(
  client: Client,
  attributes: Readonly<Record<string, string>> = { resume: 'true' },
): Promise<Element> {
  client.send(el('enable', { xmlns: SM_NS, ...attributes }))
  return await client.receives(answered('enabled'))
}

/** A client whose session can be resumed, by `id`. */
export async function connectResumable(
  server: TestServer,
  localpart: string,
  resource?: string,
  options: ConnectOptions = {},
): Promise<{ readonly client: Client; readonly id: string }> {
  const client = await server.connect(localpart, resource, { priority: undefined, ...options })
  const id = (await enable(client)).attr('id') ?? ''
  return { client, id }
}

/** The condition of a `<failed/>`. */
export function refusal(element: Element): string | undefined {
  return element.name === 'failed' ? element.elements()[0]?.name : undefined
}

export function acknowledge(client: Client, h: number): void {
  client.send(el('a', { xmlns: SM_NS, h }))
}

/** Sends `<r/>`; how many stanzas the server has handled. */
export async function handled(client: Client): Promise<number> {
  client.send(el('r', { xmlns: SM_NS }))
  return countOf(await client.receives({ name: 'a', ns: SM_NS }))
}

/** As `handled`, however long it is until what the client has sent before is read. */
export async function handledAtLast(client: Client): Promise<number> {
  const answer = { name: 'a', ns: SM_NS }
  client.send(el('r', { xmlns: SM_NS }))
  while (client.inbox(answer).length === 0) {
    if (client.isClosed) throw new Error('the connection is closed')
    await setTimeout(20)
  }
  return countOf(await client.receives(answer))
}

/** Asks until the server has handled so many stanzas; never may it be more. */
export async function handles(client: Client, count: number): Promise<void> {
  let h = await handled(client)
  while (h < count) h = await handledLater(client)
  if (h !== count) throw new Error(`handled ${h} stanzas instead of ${count}`)
}

/** How many more it has handled, without being asked. */
export async function handledLater(client: Client): Promise<number> {
  return countOf(await client.receives({ name: 'a', ns: SM_NS }))
}

function countOf(element: Element): number {
  return Number(element.attr('h'))
}

/** An authenticated connection without a session. */
export async function authenticated(server: TestServer, localpart: string): Promise<Client> {
  const client = await server.openStream()
  await client.authenticate({ localpart, password: PASSWORD, mechanism: 'PLAIN' })
  return client
}

/** Sends `<resume/>` and takes the answer. */
export async function tryToResume(client: Client, id: string, h: number): Promise<Element> {
  client.send(el('resume', { xmlns: SM_NS, previd: id, h }))
  return await client.receives(answered('resumed'))
}

type Resumption = { readonly id: string; readonly h: number; readonly fullJid: string }

/** A client that goes on with a session; `h` is how many stanzas it has got. */
export async function resume(
  server: TestServer,
  { id, h, fullJid }: Resumption,
): Promise<{ readonly client: Client; readonly handled: number }> {
  const client = await authenticated(server, fullJid.split('@', 1)[0] as string)
  const answer = await tryToResume(client, id, h)
  if (answer.name !== 'resumed') throw new Error(`not resumed: ${answer}`)
  client.fullJid = fullJid
  return { client, handled: countOf(answer) }
}
