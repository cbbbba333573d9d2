import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { parseJid } from '../../src/xmpp/jid.ts'
import { type Element, el } from '../../src/xmpp/xml.ts'
import { askArchive } from '../support/archive.ts'
import { enableCarbons, shownAs } from '../support/carbons.ts'
import type { Client } from '../support/client.ts'
import { DOMAIN, startServer, type TestServer } from '../support/server.ts'
import { enable, resume, SM_NS } from '../support/stream-management.ts'
import type { Device, Message } from './reference.ts'

/** What the client of a device knows of its session. */
type Session = {
  client: Client
  readonly id: string
  /** Stanzas, in order, since stream management was enabled; those lost with a connection taken out. */
  received: Element[]
  /** Of the messages among them. */
  acknowledged: number
  /** Stanzas sent since then. */
  sent: number
}

/** A server with its database in a file, and clients for the devices of a model. */
export class Real implements AsyncDisposable {
  readonly #directory: string
  #server: TestServer
  readonly #sessions = new Map<Device, Session>()

  private constructor(directory: string, server: TestServer) {
    this.#directory = directory
    this.#server = server
  }

  static async start(accounts: readonly string[]): Promise<Real> {
    const directory = await mkdtemp(join(tmpdir(), 'meerkat-model-'))
    const server = await start(directory)
    for (const account of accounts) await server.createAccount(account)
    return new Real(directory, server)
  }

  async connect(device: Device, priority: number | undefined, wantsCopies = false): Promise<void> {
    const { account, resource } = device
    const before = this.#sessions.get(device)
    const client = await this.#server.connect(account, resource, { priority: undefined })
    if (wantsCopies) await enableCarbons(client)
    const id = (await enable(client)).attr('id') ?? ''
    if (before !== undefined) await before.client.closes()
    this.#sessions.set(device, { client, id, received: [], acknowledged: 0, sent: 0 })
    if (priority !== undefined) await this.setPriority(device, priority)
  }

  async setPriority(device: Device, priority: number | undefined): Promise<void> {
    const session = this.#session(device)
    const presence =
      priority === undefined
        ? el('presence', { type: 'unavailable' })
        : el('presence', {}, el('priority', {}, String(priority)))
    session.client.send(presence)
    session.sent++
    await this.#roundTrip(session)
  }

  async send(device: Device, messages: readonly Message[]): Promise<void> {
    const session = this.#session(device)
    for (const { id, to } of messages) {
      const address = `${to.account}@${DOMAIN}${to.resource === undefined ? '' : `/${to.resource}`}`
      session.client.send(el('message', { type: 'chat', to: address, id }, el('body', {}, id)))
      session.sent++
    }
    await this.#roundTrip(session)
  }

  /** The oldest `count` messages that it has not acknowledged, and what came between them. */
  async acknowledge(device: Device, count: number): Promise<void> {
    const session = this.#session(device)
    session.acknowledged += count
    session.client.send(el('a', { xmlns: SM_NS, h: countUpTo(session, session.acknowledged) }))
    await this.#roundTrip(session)
  }

  async detach(device: Device): Promise<void> {
    const session = this.#session(device)
    const { client } = session
    const kept = this.#server.sessionOf(client)
    this.#drain(session)
    await client.vanishes()
    while (isConnected(kept)) await setImmediate()
  }

  /** How many messages a device has got in its session. */
  got(device: Device): number {
    return this.#session(device).received.filter(isMessage).length
  }

  /** The client has got all but the last `lost` of the messages that it was sent. */
  async resume(device: Device, lost: number): Promise<void> {
    const session = this.#session(device)
    const messages = session.received.filter(isMessage).length
    const h = countUpTo(session, messages - lost)
    session.received = session.received.slice(0, h)
    session.acknowledged = messages - lost
    const { fullJid } = session.client
    const { client, handled } = await resume(this.#server, { id: session.id, h, fullJid })
    // What it had sent before it was cut off was all received.
    assert.equal(handled, session.sent, `${device.name}: handled`)
    session.client = client
  }

  /** The client says goodbye, or nobody waits for it any longer; what it had is given back. */
  async end(device: Device): Promise<void> {
    const { client } = this.#session(device)
    const { sessions } = this.#server.server.sessionManager
    const session = sessions.get(parseJid(client.fullJid))
    if (device.state === 'connected') await client.leaves()
    await session?.close()
    this.#sessions.delete(device)
  }

  async restart(): Promise<void> {
    for (const session of this.#sessions.values()) this.#drain(session)
    await this.#server.stop()
    for (const session of this.#sessions.values()) {
      await session.client.closes()
      this.#drain(session)
    }
    await this.#server[Symbol.asyncDispose]()
    this.#server = await start(this.#directory)
  }

  /** Of an account, as the server lists its sessions. */
  resources(account: string): string[] {
    const all = this.#server.server.sessionManager.sessions.of(`${account}@${DOMAIN}`)
    return all.map(({ jid }) => jid.resource)
  }

  /** Waits until a connected device was shown so many messages; all that it was shown. */
  async shown(device: Device, count: number): Promise<string[]> {
    const session = this.#session(device)
    await this.#roundTrip(session)
    for (;;) {
      this.#drain(session)
      const ids = session.received.filter(isMessage).map(shownAs)
      if (ids.length >= count) return ids
      await session.client.receivesMore()
    }
  }

  /** Ids of all messages in the archive of an account. */
  async archived(account: string): Promise<string[]> {
    const client = await this.#server.connect(account, 'librarian', { priority: undefined })
    const ids: string[] = []
    for (let after: string | undefined; ; ) {
      const page = after === undefined ? {} : { after }
      const { results, last, isComplete } = await askArchive(client, { page })
      ids.push(...results.map(({ message }) => message.attr('id') ?? ''))
      if (isComplete) break
      after = last
    }
    await client.leaves()
    return ids
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const device of [...this.#sessions.keys()]) await this.end(device)
    await this.#server[Symbol.asyncDispose]()
    await rm(this.#directory, { recursive: true, force: true })
  }

  #session(device: Device): Session {
    const session = this.#sessions.get(device)
    assert(session !== undefined, `${device.name} has no session`)
    return session
  }

  /** All that the client sent before is through. It counts as no stanza. */
  async #roundTrip(session: Session): Promise<void> {
    session.client.send(el('r', { xmlns: SM_NS }))
    await session.client.receives({ name: 'a', ns: SM_NS })
    session.client.forgets({ ns: SM_NS })
    this.#drain(session)
  }

  #drain(session: Session): void {
    session.received.push(...session.client.inbox(isStanza))
    session.client.forgets(isStanza)
  }
}

function start(directory: string): Promise<TestServer> {
  return startServer({
    data_dir: directory,
    storage: { url: `sqlite:${join(directory, 'model.db')}` },
  })
}

function isConnected(session: object): boolean {
  return 'isConnected' in session && session.isConnected === true
}

function isStanza({ name }: Element): boolean {
  return name === 'message' || name === 'presence' || name === 'iq'
}

function isMessage({ name }: Element): boolean {
  return name === 'message'
}

/** The count that acknowledges the first `messages` messages and what came before the last of them. */
function countUpTo({ received }: Session, messages: number): number {
  let left = messages
  let count = 0
  for (const [index, stanza] of received.entries()) {
    if (left === 0) break
    if (isMessage(stanza)) left--
    count = index + 1
  }
  return count
}
