import { z } from 'zod'
import { duration } from '../core/config-types.ts'
import { defineModule } from '../core/module.ts'
import { oncePer } from '../core/once-per.ts'
import { isStreamSession, type StreamSession } from '../core/session.ts'
import { parseJid } from '../xmpp/jid.ts'
import { StanzaError } from '../xmpp/stanza-error.ts'
import { StreamError } from '../xmpp/stream-error.ts'
import { type Element, el } from '../xmpp/xml.ts'

const NS = 'urn:xmpp:ping'
const LIMITS_NS = 'urn:xmpp:stream-limits:0'
const PING = el('ping', { xmlns: NS })

/**
 * Answers pings, and finds out which silent clients are gone (XEP-0199). A client that lost its
 * network without a word would else keep getting messages that nobody sees.
 */
export const ping = defineModule({
  name: 'ping',
  implements: ['XEP-0199 2.0.1'],
  features: [NS],
  accountFeatures: [NS],
  config: z.strictObject({
    interval: duration({ min: '1s' })
      .prefault('3m')
      .describe('A client silent for so long is asked whether it is still there.'),
    timeout: duration({ min: '1s' })
      .prefault('30s')
      .describe('A client that has not answered after so long is taken for lost.'),
  }),

  start({ config, hooks, iq, sessions, clock, every, serves, lasting, log }) {
    iq.on('server', 'get', NS, 'ping', () => undefined)
    iq.on('account', 'get', NS, 'ping', () => undefined)

    // XEP-0478: how long a client may be silent until it is asked.
    const idle = el('idle-seconds', {}, String(Math.floor(config.interval / 1000)))
    const withIdle = oncePer((limits: Element) => limits.withChildren(...limits.children, idle))
    hooks.on('c2s_stream_features', (features, { account }) => {
      if (account === undefined) return features
      return features.map((feature) =>
        feature.name === 'limits' && feature.ns === LIMITS_NS ? withIdle(feature) : feature,
      )
    })

    const asked = lasting(() => new WeakSet<StreamSession>())

    /** Without connection nobody can answer; whoever keeps the session knows for how long. */
    const isSilent = (session: StreamSession, now: number) =>
      session.isConnected &&
      !session.isClosed &&
      !asked.has(session) &&
      now - session.lastActivity >= config.interval

    /** Any answer will do: an error, too, comes from somebody who is there. */
    const ask = async (session: StreamSession) => {
      const before = session.lastActivity
      try {
        const { timeout } = config
        await iq.request(parseJid(session.jid.domain), session.jid, 'get', PING, { timeout })
      } catch (error) {
        const isTimeout =
          error instanceof StanzaError && error.condition === 'remote-server-timeout'
        if (!isTimeout || session.lastActivity > before) return
        log.debug('ping_timeout', { jid: session.jid.full })
        await session.disconnect(new StreamError('connection-timeout', 'No answer to a ping'))
      } finally {
        asked.delete(session)
      }
    }

    every(config.interval / 4, () => {
      const now = clock.now()
      for (const session of sessions.sessions.values()) {
        if (!isStreamSession(session) || !isSilent(session, now)) continue
        if (!serves(session.jid.domain)) continue
        asked.add(session)
        ask(session).catch((error) => log.error('ping_failed', { error }))
      }
    })
  },
})
