import { z } from 'zod'
import { defineModule } from '../core/module.ts'
import { el } from '../xmpp/xml.ts'

const NS = 'urn:ietf:params:xml:ns:xmpp-session'

/**
 * For clients of RFC 3921 §3, which ask for a session after binding a resource: the binding has
 * already opened it, so the request is offered as optional and always succeeds.
 */
export const legacySession = defineModule({
  name: 'legacy_session',
  implements: [],
  config: z.strictObject({}),

  start({ hooks, iq }) {
    const offer = el('session', { xmlns: NS }, el('optional'))
    hooks.on('c2s_stream_features', (features, { account }) =>
      account === undefined ? features : [...features, offer],
    )
    // Clients send it to the server or without address, which makes it their account's.
    iq.on('server', 'set', NS, 'session', () => undefined)
    iq.on('account', 'set', NS, 'session', () => undefined)
  },
})
