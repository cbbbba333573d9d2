import { StanzaError } from '../xmpp/stanza-error.ts'
import type { Envelope } from './envelope.ts'
import { DROP, type Hooks, Stop } from './hooks.ts'
import type { IqDispatcher } from './iq.ts'
import type { LocalRoute } from './local-routes.ts'
import { dropped, type Outcome } from './outcome.ts'
import type { Router } from './router.ts'
import type { SessionManager } from './session-manager.ts'

type Parts = {
  readonly hooks: Hooks
  readonly router: Router
  readonly iq: IqDispatcher
  readonly sessionManager: SessionManager
}

/**
 * Serves a hosted domain: what is for an account goes to the session manager, what is for the
 * domain itself is answered here.
 */
export class Local implements LocalRoute {
  readonly domain: string
  domainType: string
  readonly isHosted = true
  readonly #parts: Parts

  constructor(domain: string, domainType: string, parts: Parts) {
    this.domain = domain
    this.domainType = domainType
    this.#parts = parts
  }

  handle(envelope: Envelope): Outcome | Promise<Outcome> {
    if (envelope.to.local !== '')
      return this.#parts.sessionManager.deliver(envelope, this.domainType)
    const { stanza } = envelope
    if (envelope.to.resource !== '') return this.#noSuchResource(envelope)
    if (stanza.kind === 'iq') {
      return stanza.isRequest
        ? this.#parts.iq.answer('server', envelope)
        : this.#parts.iq.accept(envelope)
    }
    const hook = stanza.kind === 'message' ? 'message_to_domain' : 'presence_to_domain'
    const nobody = dropped('local', `no handler for ${stanza.kind} to the domain`)
    const verdict = this.#parts.hooks.at(hook, this.domainType).run(nobody, { envelope })
    return verdict instanceof Promise ? verdict.then(outcomeOf) : outcomeOf(verdict)
  }

  #noSuchResource(envelope: Envelope): Outcome {
    const { stanza } = envelope
    if (stanza.kind === 'iq' && !stanza.isRequest) return dropped('local', 'unexpected answer')
    return this.#parts.router.bounce(envelope, new StanzaError('item-not-found'), 'local')
  }
}

function outcomeOf(verdict: Outcome | Stop<Outcome> | typeof DROP): Outcome {
  if (verdict === DROP) return dropped('local', 'filtered')
  return verdict instanceof Stop ? verdict.acc : verdict
}
