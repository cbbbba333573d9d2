import type { BareJid, Jid } from '../xmpp/jid.ts'
import type { ContactInfo } from './hook-map.ts'
import { type HookSource, resultOf } from './hooks.ts'

const STRANGER: ContactInfo = { subscription: 'none', groups: [] }

/**
 * Whether `viewer` may learn what the account's presence tells: the account itself, and contacts
 * subscribed to it (RFC 6120 §13.10.2) from whom it does not hide.
 */
export async function maySeePresence(
  hooks: HookSource,
  domainType: string | undefined,
  owner: BareJid,
  viewer: Jid,
): Promise<boolean> {
  const contact = viewer.toBare()
  if (contact.equals(owner)) return true
  const verdict = await hooks
    .at('roster_get_jid_info', domainType)
    .run(STRANGER, { owner, contact })
  const { subscription } = resultOf(verdict, STRANGER)
  if (subscription !== 'from' && subscription !== 'both') return false
  const left = await hooks.at('presence_recipients', domainType).run([viewer], { owner })
  return resultOf(left, []).length > 0
}
