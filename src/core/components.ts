import type { Jid } from '../xmpp/jid.ts'
import type { Envelope } from './envelope.ts'
import type { Outcome } from './outcome.ts'

/** A connection of an external component (XEP-0114), wherever in the cluster it is. */
export interface Component {
  readonly domain: string
  readonly isHidden: boolean
  handle(envelope: Envelope): Outcome | Promise<Outcome>
}

/** The components that are connected. */
export interface Components {
  onThisNode(domain: string): Component | undefined
  /** Of several connections, the same one for all stanzas of one sender. */
  onAnyNode(domain: string, sender: Jid): Component | undefined
  /** The domains with at least one connection. */
  domains(): readonly string[]
}

/** A server that takes no components. */
export const noComponents: Components = {
  onThisNode: () => undefined,
  onAnyNode: () => undefined,
  domains: () => [],
}
