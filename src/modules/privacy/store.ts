import type { BareJid } from '../../xmpp/jid.ts'
import type { AccountLists } from './account-lists.ts'
import type { PrivacyList } from './privacy-list.ts'

/** Where privacy lists are kept. Changes of one account come one after the other. */
export interface PrivacyStore {
  load(owner: BareJid): Promise<AccountLists>
  /** Adds a list, or replaces the one of its name. */
  put(owner: BareJid, list: PrivacyList): Promise<void>
  /** If it was the default list, there is none any more. */
  remove(owner: BareJid, name: string): Promise<void>
  setDefault(owner: BareJid, name: string | undefined): Promise<void>
  removeAll(owner: BareJid): Promise<void>
}
