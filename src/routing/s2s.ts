import type { Envelope } from '../core/envelope.ts'
import { DROP, type HookPoint, Stop } from '../core/hooks.ts'
import { dropped, type Outcome } from '../core/outcome.ts'
import type { RemoteServers } from '../core/remote-servers.ts'
import type { Router, RoutingModule } from '../core/router.ts'
import { StanzaError } from '../xmpp/stanza-error.ts'

type Parts = {
  readonly router: Router
  readonly servers: RemoteServers
  readonly allow: HookPoint<'s2s_allow_host'>
  readonly send: HookPoint<'s2s_send_packet'>
}

/** Sends everything that is not ours to the server of its domain. The end of the chain. */
export function s2s({ router, servers, allow, send }: Parts): RoutingModule {
  const forward = (envelope: Envelope): Outcome | Promise<Outcome> => {
    const verdict = send.run(envelope, {})
    if (verdict instanceof Promise) return verdict.then(deliver)
    return deliver(verdict)
  }
  const deliver = (verdict: Envelope | Stop<Envelope> | typeof DROP) => {
    if (verdict === DROP) return dropped('s2s_send_packet', 'filtered')
    return servers.send(verdict instanceof Stop ? verdict.acc : verdict)
  }
  const decide = (envelope: Envelope, verdict: unknown): Outcome | Promise<Outcome> => {
    const answer = verdict instanceof Stop ? verdict.acc : verdict
    if (answer === 'allow') return forward(envelope)
    return router.bounce(envelope, new StanzaError('service-unavailable'), 's2s')
  }
  return {
    name: 's2s',
    route(envelope) {
      const { from, to, origin } = envelope
      // For a domain that was ours when its sender was let in.
      if (origin.kind === 's2s') {
        return router.bounce(envelope, new StanzaError('service-unavailable'), 's2s')
      }
      const verdict = allow.run('allow', { domain: from.domain, remote: to.domain })
      if (verdict instanceof Promise) return verdict.then((later) => decide(envelope, later))
      return decide(envelope, verdict)
    },
  }
}
