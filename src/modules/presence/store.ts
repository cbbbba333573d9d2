import type { BareJid } from '../../xmpp/jid.ts'
import type { Stanza } from '../../xmpp/stanza.ts'

/** How an account was last seen: its last unavailable presence, and when it came. */
export type LastPresence = {
  readonly stanza: Stanza
  /** Milliseconds since the epoch. */
  readonly at: number
}

/** Where the last presence of accounts is kept, for probes that come when nobody is there. */
export interface LastPresenceStore {
  /** Of those that are known, by bare JID as text. */
  find(owners: readonly string[]): Promise<ReadonlyMap<string, LastPresence>>
  save(owner: BareJid, last: LastPresence): Promise<void>
  remove(owner: BareJid): Promise<void>
}
