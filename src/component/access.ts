import { scopesOf } from '../core/privacy.ts'
import type { Jid } from '../xmpp/jid.ts'

/**
 * Who may send to a component: everybody, whoever is served by this server, or those named: domains,
 * accounts, resources.
 */
export type Access = 'all' | 'local' | readonly string[]

/** `isOurs`: whether this server serves a domain. */
export function accessRule(
  access: Access,
  isOurs: (domain: string) => boolean,
): (sender: Jid) => boolean {
  if (access === 'all') return () => true
  if (access === 'local') return ({ domain }) => isOurs(domain)
  const named = new Set(access)
  return (sender) => scopesOf(sender).some((scope) => named.has(scope))
}
