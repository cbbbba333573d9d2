import { z } from 'zod'
import { duration, size } from '../core/config-types.ts'
import type { Envelope } from '../core/envelope.ts'
import { DROP, stop } from '../core/hooks.ts'
import { defineModule, type ModuleContext } from '../core/module.ts'
import { weigh } from '../core/portions.ts'
import { isStreamSession, type StreamSession } from '../core/session.ts'
import { isChatStateOnly } from '../xmpp/chat-states.ts'
import { carbonOf, isCopy } from '../xmpp/forward.ts'
import { Stanza } from '../xmpp/stanza.ts'
import { el } from '../xmpp/xml.ts'

const NS = 'urn:xmpp:csi:0'
const EVENT_NS = 'http://jabber.org/protocol/pubsub#event'

const FEATURE = el('csi', { xmlns: NS })
/** How often it is looked for what has waited long enough, milliseconds. */
const LOOK = 5_000

/** What a client that nobody looks at gets later: oldest first, one presence of each resource. */
type Waiting = {
  readonly session: StreamSession
  readonly stanzas: Map<string | Envelope, Envelope>
  bytes: number
  /** When the oldest came, milliseconds since the epoch. */
  since: number
  isFlushing: boolean
}

/**
 * Lets a client in somebody's pocket sleep (XEP-0352). While it is inactive, presence and news of
 * contacts (XEP-0163) wait, of the presence of one resource only the last; that somebody is typing is
 * forgotten. All else passes at once, and whatever waits goes before it, so nothing changes its order.
 */
export const csi = defineModule({
  name: 'csi',
  implements: ['XEP-0352 1.0.0'],
  config: z.strictObject({
    max_stanzas: z
      .int()
      .min(1)
      .default(200)
      .describe('Stanzas that wait for an inactive client before it gets all of them.'),
    max_bytes: size({ min: '1KiB' }).prefault('128KiB').describe('What those may come to.'),
    max_delay: duration({ min: '1s' }).prefault('30m').describe('How long one may wait.'),
  }),

  start({ config, hooks, clock, every, serves, lasting, onLeave }) {
    const inactive = lasting(() => new InactiveSessions())
    attend(inactive, hooks)

    const wait = (waiting: Waiting, envelope: Envelope, key: string | Envelope) => {
      const { stanzas } = waiting
      if (stanzas.size === 0) waiting.since = clock.now()
      const before = stanzas.get(key)
      if (before !== undefined) {
        waiting.bytes -= weigh(before)
        stanzas.delete(key)
        waiting.session.acknowledged(before)
      }
      stanzas.set(key, envelope)
      waiting.bytes += weigh(envelope)
      if (stanzas.size >= config.max_stanzas || waiting.bytes >= config.max_bytes) flush(waiting)
    }

    hooks.on(
      'c2s_stream_features',
      (features, { account }) => (account === undefined ? features : [...features, FEATURE]),
      { order: 60 },
    )
    hooks.on(
      'xmpp_presend_element',
      (envelope, { session }) => {
        if (inactive.size === 0) return envelope
        const waiting = inactive.get(session as StreamSession)
        if (waiting === undefined || waiting.isFlushing) return envelope
        if (isTyping(envelope)) return DROP
        const key = keyOf(envelope)
        if (key === undefined) {
          flush(waiting)
          return envelope
        }
        wait(waiting, envelope, key)
        return stop(envelope)
      },
      {
        order: 45,
        explain: (envelope, { session }) => {
          const isInactive = inactive.has(session as StreamSession)
          if (!isInactive) return { verdict: envelope }
          if (isTyping(envelope)) return { verdict: DROP }
          if (keyOf(envelope) === undefined) {
            return { verdict: envelope, would: 'send with it what waits for the inactive client' }
          }
          return { verdict: stop(envelope), would: 'let it wait: the client is inactive' }
        },
      },
    )

    every(LOOK, () => {
      const latest = clock.now() - config.max_delay
      for (const waiting of inactive.values()) {
        if (waiting.since <= latest && serves(waiting.session.jid.domain)) flush(waiting)
      }
    })
    onLeave(({ leaves }) => {
      for (const session of inactive.keys()) {
        if (leaves(session.jid.domain)) activate(inactive, session)
      }
    })
  },

  /** Clients go on telling, and nothing waits for them. */
  retire({ hooks, serves, lasting, onReady }) {
    const inactive = lasting(() => new InactiveSessions())
    attend(inactive, hooks)
    hooks.on(
      'xmpp_presend_element',
      (envelope, { session }) => {
        const waiting = inactive.get(session as StreamSession)
        if (waiting !== undefined) flush(waiting)
        return envelope
      },
      { order: 45, explain: (envelope) => ({ verdict: envelope }) },
    )
    onReady(() => {
      for (const waiting of inactive.values()) {
        if (serves(waiting.session.jid.domain)) flush(waiting)
      }
    })
  },
})

class InactiveSessions extends Map<StreamSession, Waiting> {}

/** Notes what clients say, until their sessions end. */
function attend(inactive: InactiveSessions, hooks: ModuleContext<unknown>['hooks']): void {
  hooks.on(
    'user_send_xmlel',
    (element, { session }) => {
      if (element.ns !== NS || !isStreamSession(session)) return element
      if (element.name === 'active') activate(inactive, session)
      else if (element.name === 'inactive') deactivate(inactive, session)
      else return element
      return stop(element)
    },
    { order: 60 },
  )
  for (const hook of ['user_socket_closed', 'user_socket_error', 'user_stop_request'] as const) {
    hooks.on(
      hook,
      (reason, { session }) => {
        // Whoever keeps the session gets it. A new stream begins in the active state (§5.2).
        if (isStreamSession(session)) activate(inactive, session)
        return reason
      },
      { order: 95, onError: 'skip' },
    )
  }
  hooks.on(
    'reroute_unacked_messages',
    (envelopes, { session }) => {
      const waiting = inactive.get(session as StreamSession)
      if (waiting === undefined) return envelopes
      inactive.delete(waiting.session)
      return [...waiting.stanzas.values(), ...envelopes]
    },
    { order: 70 },
  )
}

function activate(inactive: InactiveSessions, session: StreamSession): void {
  const waiting = inactive.get(session)
  if (waiting === undefined) return
  inactive.delete(session)
  flush(waiting)
}

function deactivate(inactive: InactiveSessions, session: StreamSession): void {
  if (inactive.has(session)) return
  const stanzas = new Map<string | Envelope, Envelope>()
  inactive.set(session, { session, stanzas, bytes: 0, since: 0, isFlushing: false })
}

function flush(waiting: Waiting): void {
  const { session, stanzas } = waiting
  if (stanzas.size === 0 || waiting.isFlushing) return
  const all = [...stanzas.values()]
  stanzas.clear()
  waiting.bytes = 0
  waiting.isFlushing = true
  for (const envelope of all) session.presend(envelope)
  waiting.isFlushing = false
}

/** What a stanza takes the place of while it waits, if only its own; undefined if it does not wait. */
function keyOf(envelope: Envelope): string | Envelope | undefined {
  const { from, stanza } = envelope
  const { kind, type } = stanza
  if (kind === 'presence') {
    return type === undefined || type === 'unavailable' ? from.full : undefined
  }
  const isNews = kind === 'message' && stanza.hasNamespace(EVENT_NS) && !stanza.has('body')
  return isNews ? envelope : undefined
}

/** Whether it says that somebody is typing, or that another device of ours got to know of it. */
function isTyping({ stanza }: Envelope): boolean {
  if (isChatStateOnly(stanza)) return true
  if (!isCopy(stanza)) return false
  const copied = carbonOf(stanza, 'received') ?? carbonOf(stanza, 'sent')
  return copied !== undefined && isChatStateOnly(Stanza.fromElement(copied))
}
