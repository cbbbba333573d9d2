import { Stanza } from '../../xmpp/stanza.ts'

/** What the server sends of itself. */
export const AVAILABLE = Stanza.build('presence')
export const UNAVAILABLE = Stanza.build('presence', { type: 'unavailable' })
export const PROBE = Stanza.build('presence', { type: 'probe' })
export const UNSUBSCRIBED = Stanza.build('presence', { type: 'unsubscribed' })
