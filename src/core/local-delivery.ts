import { StanzaError } from '../xmpp/stanza-error.ts'
import type { Envelope } from './envelope.ts'
import { DROP, type Hooks, Stop } from './hooks.ts'
import type { LocalRoute } from './local-routes.ts'
import type { Logger } from './log.ts'
import { dropped, type Outcome } from './outcome.ts'
import type { Router } from './router.ts'
import type { Tracer } from './tracer.ts'

/**
 * Route step 6. Runs `filter_local_packet` for the destination's domain, then hands the stanza to
 * whatever serves it. A refusal (`StanzaError`) goes back to the sender; so does our own failure.
 */
export class LocalDelivery {
  readonly #hooks: Hooks
  readonly #router: Router
  readonly #log: Logger

  constructor(hooks: Hooks, router: Router, log: Logger) {
    this.#hooks = hooks
    this.#router = router
    this.#log = log
  }

  deliver(envelope: Envelope, route: LocalRoute): Outcome | Promise<Outcome> {
    const { tracer, stages } = this.#router
    stages.localDelivery.stanzas++
    return tracer === undefined
      ? this.#deliver(envelope, route)
      : this.#follow(tracer, envelope, route)
  }

  #follow(tracer: Tracer, envelope: Envelope, route: LocalRoute): Outcome | Promise<Outcome> {
    const work = (followed: Envelope) => this.#deliver(followed, route)
    return tracer.pass(this.#router.stages.localDelivery, envelope, work)
  }

  #deliver(envelope: Envelope, route: LocalRoute): Outcome | Promise<Outcome> {
    try {
      const verdict = this.#filter(envelope, route)
      if (verdict instanceof Promise) return this.#handLater(envelope, verdict, route)
      const outcome = this.#hand(envelope, verdict, route)
      return outcome instanceof Promise ? this.#later(envelope, outcome) : outcome
    } catch (error) {
      return this.#refuse(envelope, error)
    }
  }

  async #handLater(
    envelope: Envelope,
    verdict: Promise<Envelope | Stop<Envelope> | typeof DROP>,
    route: LocalRoute,
  ): Promise<Outcome> {
    try {
      return await this.#hand(envelope, await verdict, route)
    } catch (error) {
      return this.#refuse(envelope, error)
    }
  }

  async #later(envelope: Envelope, outcome: Promise<Outcome>): Promise<Outcome> {
    try {
      return await outcome
    } catch (error) {
      return this.#refuse(envelope, error)
    }
  }

  #filter(envelope: Envelope, { domainType }: LocalRoute) {
    if (domainType === undefined) return envelope
    return this.#hooks.at('filter_local_packet', domainType).run(envelope, NO_PARAMS)
  }

  #hand(
    before: Envelope,
    verdict: Envelope | Stop<Envelope> | typeof DROP,
    route: LocalRoute,
  ): Outcome | Promise<Outcome> {
    if (verdict === DROP) return dropped('filter_local_packet', 'filtered')
    const envelope = verdict instanceof Stop ? verdict.acc : verdict
    if (envelope.to.full !== before.to.full || envelope.from.full !== before.from.full) {
      throw new Error('filter_local_packet: a handler may not change addresses')
    }
    return route.handle(envelope)
  }

  #refuse(envelope: Envelope, error: unknown): Outcome {
    if (error instanceof StanzaError) return this.#router.bounce(envelope, error, 'local_delivery')
    this.#log.error('local_delivery_failed', { to: envelope.to.full, error })
    const failure = new StanzaError('internal-server-error', { type: 'wait' })
    return this.#router.bounce(envelope, failure, 'local_delivery')
  }
}

const NO_PARAMS = {}
