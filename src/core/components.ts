import type { StreamError } from '../xmpp/stream-error.ts'
import type { Envelope } from './envelope.ts'
import type { Outcome } from './outcome.ts'

/** A connection of an external component (XEP-0114), wherever in the cluster it is. */
export interface Component {
  /** Unique among all connections ever. */
  readonly id: string
  /** Whose stanzas it takes: one domain, or a subdomain of each hosted one. */
  readonly domains: readonly string[]
  /** It serves a subdomain of each hosted domain. */
  readonly isSubdomain: boolean
  /** Of one of this node that serves subdomains: those that there are now. */
  readonly wanted?: readonly string[] | undefined
  /** Speaks for these from now on. */
  use?(domains: readonly string[]): void
  /** Service discovery does not tell of it. */
  readonly isHidden: boolean
  /** Its connection is on this node. */
  readonly isLocal: boolean
  /** Node that has its connection; absent where that is this one. */
  readonly clusterNode?: string
  /** Hands it a stanza for one of its domains. */
  handle(envelope: Envelope): Outcome | Promise<Outcome>
  /** Whether this answer is to a request that came over this very connection. */
  awaits(answer: Envelope): boolean
  /** Closes the connection and says why. Resolves when it is not registered any more. */
  close(error: StreamError): Promise<void>
}

/** The components that are connected. */
export interface Components {
  /**
   * Who takes this stanza for its domain. Of several connections it is the one that asked for an
   * answer, else the same one for all stanzas of one sender.
   */
  onThisNode(envelope: Envelope): Component | undefined
  /** As `onThisNode`, with those of other nodes where this one has none. */
  onAnyNode(envelope: Envelope): Component | undefined
  /** Whether nobody serves a domain now that is known to be a component's. */
  isAway(domain: string): boolean
  /** The domains with at least one connection. */
  domains(): readonly string[]
}
