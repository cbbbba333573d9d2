import { createHash, randomUUID, timingSafeEqual } from 'node:crypto'
import type { Connection, ConnectionHandler } from '../connection/connection.ts'
import { tryParseJid } from '../xmpp/jid.ts'
import { encode, NO_OCTETS, type Octets } from '../xmpp/octets.ts'
import { isStreamError, STREAMS_NS, StreamError } from '../xmpp/stream-error.ts'
import { langOf } from '../xmpp/stream-lang.ts'
import type { Frame, ParserLimits } from '../xmpp/xml-parser.ts'
import { isTrue } from '../xmpp/xml-schema.ts'
import { COMPONENT_NS } from './inbound.ts'
import type { ConflictBehaviour } from './registry.ts'
import { ComponentSession, type SessionEnvironment } from './session.ts'

export type StreamPolicy = {
  readonly onConflict: ConflictBehaviour
  /** Before the handshake, and after. */
  readonly preAuthLimits: ParserLimits
  readonly limits: ParserLimits
  /** The secret of a component; `undefined` where none is expected. */
  readonly secretOf: (name: string) => string | undefined
  /** The domains that a name stands for under each hosted domain. */
  readonly subdomainsOf: (name: string) => readonly string[]
}

export type StreamEnvironment = {
  readonly session: SessionEnvironment
  readonly policy: StreamPolicy
  /** The negotiation is over: with a session, or without. */
  readonly onEnd: (connection: Connection) => void
}

const CLOSING = '</stream:stream>' as Octets

/**
 * A component's stream until it has proved who it is (XEP-0114 §3). Dropped afterwards; the session
 * takes the connection over.
 */
export class Negotiation implements ConnectionHandler {
  readonly #connection: Connection
  readonly #environment: StreamEnvironment
  /** Of the stream: what the secret is hashed with, so nobody may guess it. */
  readonly #id = randomUUID()
  #name = ''
  #secret: string | undefined
  #isSubdomain = false
  #lang: Octets | undefined
  #hasSentHeader = false

  constructor(connection: Connection, environment: StreamEnvironment) {
    this.#connection = connection
    this.#environment = environment
  }

  onStreamStart(header: Frame): void {
    const name = domainOf(header.attribute('to'))
    this.#sendHeader(name)
    if (header.name !== 'stream' || header.ns !== STREAMS_NS) {
      throw new StreamError('invalid-namespace', `the stream belongs to ${STREAMS_NS}`)
    }
    if (header.defaultNs !== COMPONENT_NS) {
      throw new StreamError('invalid-namespace', `components speak ${COMPONENT_NS}`)
    }
    if (!header.attribute('to')) {
      throw new StreamError('improper-addressing', 'a component names itself in "to"')
    }
    const secret = name === undefined ? undefined : this.#environment.policy.secretOf(name)
    if (name === undefined || secret === undefined) throw new StreamError('host-unknown')
    this.#name = name
    this.#secret = secret
    this.#isSubdomain = isTrue(header.attribute('is_subdomain'))
    this.#lang = langOf(header)
  }

  onElement(frame: Frame): void {
    if (isStreamError(frame)) return this.onStreamEnd()
    if (frame.name !== 'handshake' || frame.ns !== COMPONENT_NS) {
      throw new StreamError('not-authorized', 'the handshake comes first')
    }
    if (this.#secret === undefined || !this.#isProof(frame.toElement().text, this.#secret)) {
      const { log } = this.#environment.session
      const { address } = this.#connection
      log.warn('component_refused', { name: this.#name, address, reason: 'wrong secret' })
      throw new StreamError('not-authorized')
    }
    this.#establish()
  }

  onStreamEnd(): void {
    this.#end(NO_OCTETS)
  }

  onStreamError(error: StreamError): void {
    if (!this.#hasSentHeader) this.#sendHeader(undefined)
    this.#end(error.toOctets())
  }

  onFlush(): void {}

  onDrain(): void {}

  onClosed(): void {
    this.#environment.onEnd(this.#connection)
  }

  /** XEP-0114 §3: as the component is called, not the server. */
  #sendHeader(name: string | undefined): void {
    this.#hasSentHeader = true
    const from = name === undefined ? '' : ` from='${encode(name)}'`
    this.#connection.write(
      `<?xml version='1.0'?><stream:stream xmlns='${COMPONENT_NS}' xmlns:stream='${STREAMS_NS}' id='${this.#id}'${from}>` as Octets,
    )
  }

  /** Hexadecimal SHA-1 of the stream's id and the secret. Takes as long for every wrong one. */
  #isProof(text: string, secret: string): boolean {
    const expected = createHash('sha1').update(`${this.#id}${secret}`).digest('hex')
    const given = Buffer.from(text)
    return given.length === expected.length && timingSafeEqual(given, Buffer.from(expected))
  }

  #establish(): void {
    const { session: environment, policy } = this.#environment
    const subdomains = this.#isSubdomain ? () => policy.subdomainsOf(this.#name) : undefined
    const domains = subdomains?.() ?? [this.#name]
    const opening = { id: this.#id, domains, subdomains, lang: this.#lang }
    const connection = this.#connection
    const session = new ComponentSession(opening, connection, environment)
    const { address } = connection
    connection.handler = session
    const admit = () => {
      if (session.isClosed) return false
      this.#environment.onEnd(connection)
      connection.limits = policy.limits
      connection.write('<handshake/>' as Octets)
      environment.log.info('component_connected', { domains, address })
      return true
    }
    const refuse = (isRegistered: boolean) => {
      if (isRegistered || session.isClosed) return
      const reason = 'its domain is taken'
      environment.log.warn('component_refused', { name: this.#name, address, reason })
      session.onStreamError(new StreamError('conflict', 'the domain is served already'))
    }
    const { onConflict } = policy
    const registered = environment.registry.register(session, { onConflict, admit })
    if (registered instanceof Promise) void connection.waitFor(registered.then(refuse))
    else refuse(registered)
  }

  #end(last: Octets): void {
    this.#environment.onEnd(this.#connection)
    this.#connection.end((last + (this.#hasSentHeader ? CLOSING : NO_OCTETS)) as Octets)
  }
}

function domainOf(to: string | undefined): string | undefined {
  const address = to === undefined ? undefined : tryParseJid(to)
  return address?.isDomain === true && address.resource === '' ? address.domain : undefined
}
