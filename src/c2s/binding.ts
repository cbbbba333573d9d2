import { randomUUID } from 'node:crypto'
import type { Connection } from '../connection/connection.ts'
import { DROP, Stop } from '../core/hooks.ts'
import type { SessionInfo } from '../core/session.ts'
import { bounce } from '../xmpp/bounce.ts'
import { type BareJid, type FullJid, JidError, tryParseJid } from '../xmpp/jid.ts'
import { type Octets, owned } from '../xmpp/octets.ts'
import { Stanza } from '../xmpp/stanza.ts'
import { StanzaError } from '../xmpp/stanza-error.ts'
import { StreamError } from '../xmpp/stream-error.ts'
import { escapeAttribute, escapeText } from '../xmpp/xml.ts'
import type { Frame } from '../xmpp/xml-parser.ts'
import { ClientSession } from './client-session.ts'
import type { Host, StreamEnvironment } from './environment.ts'

export const BIND_NS = 'urn:ietf:params:xml:ns:xmpp-bind'

const RETRIES = 5

/** What it needs of the authenticated stream that it is for. */
type Stream = {
  readonly connection: Connection
  readonly environment: StreamEnvironment
  readonly host: Host
  readonly account: BareJid
  readonly lang: Octets | undefined
  readonly info: () => SessionInfo
  /** Takes the stream away from whoever negotiated it. False: it has ended. */
  readonly take: () => boolean
  readonly isOpen: () => boolean
  /** Closes it behind `last`. */
  readonly end: (last: Octets) => void
}

/** Binds a resource to a client's stream, which opens its session (RFC 6120 §7). */
export class Binding {
  readonly #stream: Stream
  #failures = 0

  constructor(stream: Stream) {
    this.#stream = stream
  }

  /** An iq: only one that binds is understood. */
  onIq(frame: Frame): void {
    const { account, connection, isOpen } = this.#stream
    this.#mustBeForServer(frame.attribute('to'))
    const iq = Stanza.fromFrame(frame)
    const request = iq.type === 'set' && iq.id !== undefined ? iq.child('bind', BIND_NS) : undefined
    if (request === undefined || iq.children.length !== 1) {
      return this.#refuse(iq, new StanzaError('bad-request'))
    }
    const wanted = request.child('resource')?.text ?? ''
    let full: FullJid
    try {
      full = account.withResource(wanted === '' ? randomUUID() : wanted)
    } catch (error) {
      if (!(error instanceof JidError)) throw error
      return this.#refuse(iq, new StanzaError('bad-request', { text: error.message }))
    }
    const refuse = (error: unknown) => {
      // Once there is a session, it is not refused any more: it ends.
      if (!(error instanceof StanzaError) || !isOpen()) throw error
      this.#refuse(iq, error)
    }
    try {
      const opening = this.#open(full, iq)
      if (opening !== undefined) void connection.waitFor(opening.catch(refuse))
    } catch (error) {
      refuse(error)
    }
  }

  /** RFC 6120 §7.1: nobody but the server and the own account is spoken to before. */
  #mustBeForServer(to: string | undefined): void {
    if (to === undefined) return
    const { full } = tryParseJid(to) ?? {}
    const { account } = this.#stream
    if (full === account.full || full === account.domain) return
    throw new StreamError('not-authorized', 'bind a resource first')
  }

  #open(full: FullJid, iq: Stanza): Promise<void> | undefined {
    const { connection, environment, host } = this.#stream
    const { address } = connection
    const { domainType } = host.session.points
    const verdict = environment.hooks
      .at('user_open_session', domainType)
      .run('allow', { jid: full, address })
    const ask = (first: unknown): Promise<void> | undefined => {
      if (!isAllowed(first)) return this.#forbid(full, iq)
      const second = environment.hooks
        .at('session_opening_allowed_for_user', domainType)
        .run('allow', { jid: full })
      if (second instanceof Promise) return second.then((later) => this.#admit(later, full, iq))
      return this.#admit(second, full, iq)
    }
    return verdict instanceof Promise ? verdict.then(ask) : ask(verdict)
  }

  #admit(verdict: unknown, full: FullJid, iq: Stanza): Promise<void> | undefined {
    return isAllowed(verdict) ? this.#establish(full, iq) : this.#forbid(full, iq)
  }

  #forbid(full: FullJid, iq: Stanza): undefined {
    const { environment, host } = this.#stream
    environment.hooks.at('forbidden_session', host.session.points.domainType).tell(full, {})
    this.#refuse(iq, new StanzaError('not-allowed'))
    return undefined
  }

  #establish(full: FullJid, iq: Stanza): Promise<void> | undefined {
    const { connection, environment, host, info, lang, take } = this.#stream
    if (!host.isServed) {
      this.#stream.end(new StreamError('host-gone').toOctets())
      return undefined
    }
    // Copied: Node joins it of twenty pieces, each of which stays with the session.
    const opening = { jid: full, id: owned(randomUUID()), info: info(), lang }
    if (!take()) return undefined
    const session = new ClientSession(opening, connection, host.session)
    connection.handler = session
    const registered = host.session.sessionManager.register(session)
    // What the client sent together with this, stream management above all, takes effect before
    // anything is delivered.
    if (registered !== undefined) openAfter(registered, session)
    const { connection: kind, address, mechanism } = opening.info
    environment.log.debug('session_opened', { jid: full.full, kind, address, mechanism })
    connection.write(
      `<iq type='result' id='${escapeAttribute(iq.id ?? '')}'><bind xmlns='${BIND_NS}'><jid>${escapeText(full.full)}</jid></bind></iq>` as Octets,
    )
    return registered instanceof Promise ? registered : undefined
  }

  #refuse(iq: Stanza, error: StanzaError): void {
    const { connection, end } = this.#stream
    const answer = bounce(iq, error)
    if (answer !== undefined) connection.write(answer.toOctets(undefined, undefined))
    if (++this.#failures > RETRIES) end(new StreamError('policy-violation').toOctets())
  }
}

function openAfter(work: Promise<void>, session: ClientSession): void {
  const { release } = session.hold()
  session.isOpening = true
  const open = () => {
    session.isOpening = false
    release()
  }
  const later = () => setImmediate(open)
  work.then(later, later)
}

function isAllowed(verdict: unknown): boolean {
  return verdict !== DROP && (verdict instanceof Stop ? verdict.acc : verdict) === 'allow'
}
