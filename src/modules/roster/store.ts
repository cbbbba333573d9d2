import type { BareJid } from '../../xmpp/jid.ts'
import type { Roster, RosterEdit } from './roster.ts'

/** Where rosters are kept. Edits of one account come one after the other. */
export interface RosterStore {
  /** An empty roster for an account that has none. */
  load(owner: BareJid): Promise<Roster>
  /** Resolves once the edit is durable, all of it or nothing. */
  save(owner: BareJid, edit: RosterEdit): Promise<void>
  removeAll(owner: BareJid): Promise<void>
}
