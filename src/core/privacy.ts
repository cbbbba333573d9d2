import type { BareJid, Jid } from '../xmpp/jid.ts'
import { StanzaError } from '../xmpp/stanza-error.ts'
import { el } from '../xmpp/xml.ts'
import type { Envelope } from './envelope.ts'
import type { Verdict } from './hook-map.ts'
import { DROP, type Hooks, resultOf, type Stop } from './hooks.ts'
import type { LocalRoutes } from './local-routes.ts'
import { after, type Maybe } from './maybe.ts'

/** Before all that keeps anything of a stanza. */
const FIRST = { order: 10, by: 'privacy', explain: 'pure' } as const
const BLOCKED = el('blocked', { xmlns: 'urn:xmpp:blocking:errors' })

/**
 * Has `privacy_check_packet` decide once on each stanza that comes for an account of a hosted domain,
 * and on what its clients send. A handler that fails, fails closed: the stanza does not pass.
 */
export function enforcePrivacy(hooks: Hooks, routes: LocalRoutes): void {
  const decide = (owner: BareJid, envelope: Envelope, direction: 'in' | 'out') => {
    const point = hooks.at('privacy_check_packet', routes.find(owner.domain)?.domainType)
    return point.isEmpty ? 'allow' : point.run('allow', { owner, envelope, direction })
  }
  const arrive = (envelope: Envelope): Maybe<Envelope | typeof DROP> => {
    const { to, stanza, origin } = envelope
    if (to.local === '' || !routes.isHosted(to.domain)) return envelope
    // What this server itself says of the account's own stanzas is not from whom it names.
    if (stanza.isError && origin.kind === 'server') return envelope
    const decided = decide(to.toBare(), envelope, 'in')
    return decided === 'allow' ? envelope : after(decided, admission(envelope))
  }
  const leave = (envelope: Envelope): Maybe<Envelope> => {
    const decided = decide(envelope.from.toBare(), envelope, 'out')
    return decided === 'allow' ? envelope : after(decided, departure(envelope))
  }
  hooks.on('filter_local_packet', arrive, FIRST)
  hooks.on('user_send_message', leave, FIRST)
  hooks.on('user_send_presence', leave, FIRST)
  hooks.on('user_send_iq', leave, FIRST)
}

type Decided = Verdict | 'block' | Stop<Verdict | 'block'> | typeof DROP

// Made where a stanza is not let pass at once: nearly all are, and need no closure.

function admission(envelope: Envelope) {
  return (decided: Decided): Envelope | typeof DROP =>
    resultOf<Verdict | 'block'>(decided, 'deny') === 'allow' ? envelope : refuse(envelope)
}

function departure(envelope: Envelope) {
  return (decided: Decided): Envelope => {
    const verdict = resultOf<Verdict | 'block'>(decided, 'deny')
    if (verdict === 'allow') return envelope
    const detail = verdict === 'block' ? { detail: BLOCKED } : {}
    throw new StanzaError('not-acceptable', { type: 'cancel', ...detail })
  }
}

/**
 * The names under which rules may mean `jid`, the narrowest first: the resource, its account, that
 * resource of its domain, the domain (XEP-0016 §2.1, XEP-0191 §6).
 */
export function scopesOf({ full, bare, local, domain, resource }: Jid): readonly string[] {
  if (local === '') return resource === '' ? [domain] : [full, domain]
  return resource === '' ? [bare, domain] : [full, bare, `${domain}/${resource}`, domain]
}

/** Whether `peer` is above all rules of an account: its own resources, and its server. */
export function isOwn(owner: Jid, peer: Jid): boolean {
  return peer.bare === owner.bare || (peer.local === '' && peer.domain === owner.domain)
}

/**
 * What becomes of a stanza whose recipient does not let it in: as if nobody was there (XEP-0016 §2.14,
 * XEP-0191 §3.3). Throws what its sender is told.
 */
export function refuse({ stanza }: Envelope): typeof DROP {
  const isAnswered =
    stanza.kind === 'iq'
      ? stanza.isRequest
      : stanza.kind === 'message' && stanza.type !== 'groupchat' && !stanza.isError
  if (isAnswered) throw new StanzaError('service-unavailable')
  return DROP
}
