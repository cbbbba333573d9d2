import type { BareJid, FullJid } from '../xmpp/jid.ts'
import type { Octets } from '../xmpp/octets.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import type { StreamError } from '../xmpp/stream-error.ts'
import type { Envelope } from './envelope.ts'
import type { EndReason } from './hook-map.ts'
import type { Outcome } from './outcome.ts'

/** What a session tells all nodes about itself; modules add theirs by declaration merging. */
export interface SharedState {
  /** Node that owns the session. */
  readonly clusterNode?: string
}

export type ConnectionKind = 'tcp' | 'tls' | 'websocket' | 'bosh'

export type SessionInfo = {
  readonly connection: ConnectionKind
  /** Of the client, as text. */
  readonly address: string
  /** SASL mechanism it authenticated with. */
  readonly mechanism: string
  readonly isAnonymous: boolean
  /** Milliseconds since the epoch. */
  readonly openedAt: number
}

/**
 * A connected resource, wherever its connection is: what the session manager needs to know of it,
 * and the hand-off to it.
 */
export interface Resource {
  readonly jid: FullJid
  /** Unique among all sessions ever. */
  readonly id: string
  /** Of the last presence (−128 to 127); `undefined` while the resource is not available. */
  readonly priority: number | undefined
  readonly shared: SharedState
  readonly info: SessionInfo
  /**
   * Hands a stanza to the session's owner. True: taken over; the session answers for it from now
   * on and gives it back to the session manager if it ends first. False: the session is gone, and
   * the session manager decides again.
   */
  deliver(envelope: Envelope): boolean | Promise<boolean>
  /** Of one at another node: resolves when that has dealt with all that was delivered; `undefined` if it has. */
  readonly undecided?: Promise<void> | undefined
  /** Ends the session, with a stream error if given. Resolves when it has ended. */
  close(error?: StreamError): Promise<void>
}

/** A connected resource whose connection is on this node. */
export interface Session extends Resource {
  readonly domainType: string
  /** When the client last sent a stanza, milliseconds since the epoch. */
  readonly lastActivity: number
  /** When it last sent a message or a presence: somebody is there. Clients send iqs by themselves. */
  readonly lastAction: number
  /** Writes something that is not a stanza; hooks and stream management do not see it. */
  write(octets: Octets): void
  /** The last presence broadcast; `undefined` while the resource is not available. */
  readonly presence: Stanza | undefined
  /** Publishes availability: both values, or neither. For the presence module alone. */
  setPresence(priority: number | undefined, presence: Stanza | undefined): void
  /** Publishes changes of `shared`. */
  share(changes: Partial<SharedState>): void
  /**
   * Keeps what is delivered from now on behind, until the returned function is called; for what
   * has to come before it (offline messages). Bounded like all output. `through` writes past it.
   */
  hold(): { readonly through: (envelope: Envelope) => boolean; readonly release: () => void }
  /** True from the end of the session on. */
  readonly isClosed: boolean
}

/** Whether the connection of a resource is on this node. */
export function isLocalSession(resource: Resource): resource is Session {
  return 'setPresence' in resource
}

/**
 * A session as those need it who work on its stream: they keep it without a connection, count what
 * goes through it, and hold stanzas back.
 */
export interface StreamSession extends Session {
  /** It is not known yet whether the client will acknowledge what it gets: that waits. */
  readonly isOpening: boolean
  readonly isConnected: boolean
  /** `xml:lang` of the client's stream, escaped. */
  readonly lang: Octets | undefined
  /** Set by whoever learns from the client itself what arrived, and tells `acknowledged`. */
  acknowledges: boolean
  /** Told of each stanza of the client, in order, when its fate is decided. */
  onSettled: ((envelope: Envelope, outcome: Outcome) => void) | undefined
  /** Called before a turn's output leaves, and may add to it. Writing nothing asks for that. */
  beforeFlush: (() => void) | undefined
  /** Resolves when the fate of what the client has sent is decided; `undefined` if it is. */
  readonly receiving: Promise<void> | undefined
  /** Takes nothing more from the client on this connection until `work` is done. */
  waitFor(work: Promise<unknown>): void
  /** The client has got a stanza: nobody else needs to. */
  acknowledged(envelope: Envelope): void
  /** Goes on with a stanza that a handler of `xmpp_presend_element` has kept. */
  presend(envelope: Envelope): void
  /** Drops the connection, with a stream error if given. The session goes on if somebody keeps it. */
  disconnect(error?: StreamError): Promise<void> | undefined
  end(reason: EndReason, error?: StreamError): Promise<void>
  /**
   * Leaves it as it is, to be restored when the server starts again, or elsewhere: nobody is told, and
   * only what still waits for its turn goes back to the route, and `rest`, after `moved`.
   */
  suspend(moved?: Promise<unknown>, rest?: readonly Envelope[]): Promise<void>
}

export function isStreamSession(resource: Resource): resource is StreamSession {
  return 'isConnected' in resource
}

/** A stream of an authenticated client that has no session yet. */
export interface AuthenticatedStream {
  readonly account: BareJid
  write(octets: Octets): void
  /** Closes it. */
  fail(error: StreamError): void
  /** Gives its connection to a session that has none. False: the connection is gone. */
  giveTo(session: StreamSession): boolean
}

/** What a session is made from that was kept while the server was not running. */
export type SessionOpening = {
  readonly jid: FullJid
  readonly id: string
  readonly info: SessionInfo
  readonly lang: Octets | undefined
}
