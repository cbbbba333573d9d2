import type { Jid } from '../xmpp/jid.ts'
import { StanzaError } from '../xmpp/stanza-error.ts'
import type { Envelope } from './envelope.ts'
import { DROP } from './hooks.ts'

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
