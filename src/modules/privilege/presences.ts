import type { Envelope } from '../../core/envelope.ts'
import type { ContactInfo } from '../../core/hook-map.ts'
import { resultOf } from '../../core/hooks.ts'
import { after, type Maybe } from '../../core/maybe.ts'
import type { ModuleContext } from '../../core/module.ts'
import { isLocalSession } from '../../core/session.ts'
import type { Jid } from '../../xmpp/jid.ts'
import type { Stanza } from '../../xmpp/stanza.ts'
import type { Permissions } from './permissions.ts'
import { PresenceFeed } from './presence-feed.ts'

type Context = Pick<ModuleContext<unknown>, 'hooks' | 'routes' | 'sessions'>

const STRANGER: ContactInfo = { subscription: 'none', groups: [] }

/**
 * XEP-0356 §7: shows components who of the accounts becomes available and unavailable, and those
 * that may see it all that the accounts see of their contacts. Returns what tells a component that
 * has come who is there.
 */
export function showPresence(
  { hooks, routes, sessions }: Context,
  granted: ReadonlyMap<string, Permissions>,
  send: (component: string, from: Jid, presence: Stanza) => void,
): (component: string) => void {
  const feeds = new Map<string, PresenceFeed>()
  for (const [name, { presence }] of granted) {
    if (presence === 'none') continue
    feeds.set(name, new PresenceFeed((from, stanza) => send(name, from, stanza)))
  }
  if (feeds.size === 0) return () => {}

  hooks.on('user_available', (jid, { session }) => {
    const { presence } = session
    if (presence !== undefined) for (const feed of feeds.values()) feed.available(jid, presence)
    return jid
  })
  hooks.on('unset_presence', (envelope, { session }) => {
    for (const feed of feeds.values()) feed.unavailable(session.jid, envelope.stanza)
    return envelope
  })

  const ofContacts = [...feeds].filter(([name]) => granted.get(name)?.presence === 'roster')
  const sees = ({ from, to }: Envelope): Maybe<boolean> => {
    const point = hooks.at('roster_get_jid_info', routes.find(to.domain)?.domainType)
    const known = point.run(STRANGER, { owner: to.toBare(), contact: from.toBare() })
    return after(known, (info) => {
      const { subscription } = resultOf(info, STRANGER)
      return subscription === 'to' || subscription === 'both'
    })
  }
  if (ofContacts.length > 0) {
    hooks.on('filter_local_packet', (envelope) => {
      const { stanza, from, to } = envelope
      if (stanza.kind !== 'presence' || to.local === '' || from.resource === '') return envelope
      if (stanza.type !== undefined && stanza.type !== 'unavailable') return envelope
      if (from.bareEquals(to) || !routes.isHosted(to.domain)) return envelope
      return after(sees(envelope), (isSeen) => {
        if (!isSeen) return envelope
        for (const [, feed] of ofContacts) {
          if (stanza.type === undefined) feed.available(from, stanza)
          else feed.unavailable(from, stanza)
        }
        return envelope
      })
    })
  }

  return (component) => {
    const feed = feeds.get(component)
    if (feed === undefined) return
    for (const session of sessions.sessions.values()) {
      if (isLocalSession(session) && session.presence !== undefined) {
        feed.remember(session.jid, session.presence)
      }
    }
    feed.repeat()
  }
}
