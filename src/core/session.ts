import type { FullJid } from '../xmpp/jid.ts'
import type { Octets } from '../xmpp/octets.ts'
import type { Stanza } from '../xmpp/stanza.ts'
import type { StreamError } from '../xmpp/stream-error.ts'
import type { Envelope } from './envelope.ts'

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
  /** Ends the session, with a stream error if given. Resolves when it has ended. */
  close(error?: StreamError): Promise<void>
}

/** A connected resource whose connection is on this node. */
export interface Session extends Resource {
  readonly domainType: string
  /** When the client last sent a stanza, milliseconds since the epoch. */
  readonly lastActivity: number
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
