/** How an account was last seen. XEP-0227 has no words for it. */
import {
  OWN_DATA_NS,
  partFrom,
  type Taken,
  taken,
  type UserDataPart,
  type UserDataPortion,
} from '../../core/user-data.ts'
import { formatDateTime, parseDateTime } from '../../xmpp/datetime.ts'
import type { BareJid } from '../../xmpp/jid.ts'
import { CLIENT_NS, Stanza } from '../../xmpp/stanza.ts'
import { el } from '../../xmpp/xml.ts'
import type { LastPresences } from './last-presences.ts'

const NAME = 'last-presence'

export function lastPresencePart(lasts: LastPresences, owner: BareJid): UserDataPart {
  return partFrom(async () => {
    const last = await lasts.get(owner)
    if (last === undefined) return []
    const stamp = formatDateTime(last.at)
    return [el(NAME, { xmlns: OWN_DATA_NS, stamp }, last.stanza.toElement(undefined, undefined))]
  })
}

/** `undefined`: it is something else. What is known here stays. */
export async function takeLastPresence(
  lasts: LastPresences,
  owner: BareJid,
  { part }: UserDataPortion,
): Promise<Taken | undefined> {
  if (part.name !== NAME || part.ns !== OWN_DATA_NS) return undefined
  const at = parseDateTime(part.attr('stamp') ?? '')
  const presence = part.child('presence', CLIENT_NS)
  if (at === undefined || presence?.attr('type') !== 'unavailable') {
    return taken({ problems: [`${NAME}: no time, or no presence that says goodbye`] })
  }
  if ((await lasts.get(owner)) !== undefined) return taken({ there: 1 })
  await lasts.save(owner, Stanza.fromElement(presence), at)
  return taken({ added: 1 })
}
