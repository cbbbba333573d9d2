import { bounce } from '../xmpp/bounce.ts'
import { StanzaError } from '../xmpp/stanza-error.ts'
import { countKind } from '../xmpp/stanza-kind.ts'
import { Envelope, SERVER } from './envelope.ts'
import { DROP, type HookPoint } from './hooks.ts'
import type { Logger } from './log.ts'
import { dropped, type Fate, Outcome } from './outcome.ts'
import { type Stage, Stages } from './stages.ts'
import { StanzaCounts } from './stanza-counts.ts'
import type { Tracer } from './tracer.ts'

/**
 * One link of the routing chain. A filter may change the stanza or drop it, never its addresses.
 * `route` either settles the stanza (an outcome) or passes an envelope on to the next module.
 */
export interface RoutingModule {
  readonly name: string
  /** It only reads and decides, so that a dry run may run it. */
  readonly isPure?: boolean
  filter?(envelope: Envelope): Envelope | typeof DROP | Promise<Envelope | typeof DROP>
  route(envelope: Envelope): Envelope | Outcome | Promise<Envelope | Outcome>
}

/**
 * Route step 4. Offers the envelope to each routing module until one has settled it.
 *
 * Nothing is lost in silence: what no module takes, and what makes one throw, is bounced as
 * `internal-server-error` to come again later. Every stanza ends in an outcome, which is counted
 * and shown to `message_routed`.
 */
export class Router {
  readonly #log: Logger
  readonly #routed: HookPoint<'message_routed'>
  #chain: readonly RoutingModule[] = []
  #links: readonly Link[] = []
  #tracer: Tracer | undefined
  readonly stages = new Stages()
  /** How many stanzas came to each fate, by who decided. */
  readonly outcomes = new Map<string, Record<Fate, number>>()
  readonly counts = new StanzaCounts()

  constructor(log: Logger, routed: HookPoint<'message_routed'>) {
    this.#log = log
    this.#routed = routed
  }

  /** Replaces the chain; stanzas on their way finish on the old one. */
  use(chain: readonly RoutingModule[]): void {
    this.#chain = chain
    this.#link()
  }

  get chain(): readonly RoutingModule[] {
    return this.#chain
  }

  /** Follows stanzas; `undefined` while nobody wants to know. */
  get tracer(): Tracer | undefined {
    return this.#tracer
  }

  traceWith(tracer: Tracer | undefined): void {
    this.#tracer = tracer
    this.#link()
  }

  route(envelope: Envelope): Outcome | Promise<Outcome> {
    const stage = this.stages.router
    stage.stanzas++
    const tracer = this.#tracer
    return tracer === undefined ? this.#route(envelope) : this.#follow(tracer, envelope)
  }

  /** Apart: a function whose variables a closure uses allocates for it, whether it comes to it or not. */
  #follow(tracer: Tracer, envelope: Envelope): Outcome | Promise<Outcome> {
    return tracer.pass(this.stages.router, envelope, (followed) => this.#route(followed))
  }

  #link(): void {
    const tracer = this.#tracer
    this.#links = this.#chain.map((module) => {
      const stage = this.stages.module(module.name)
      return { stage, module: tracer?.module(module, stage) ?? module }
    })
  }

  #route(envelope: Envelope): Outcome | Promise<Outcome> {
    let result: Outcome | Promise<Outcome>
    try {
      result = this.#offer(this.#links, 0, envelope)
    } catch (error) {
      return this.#settle(envelope, this.#refuse(envelope, error))
    }
    if (!(result instanceof Promise)) return this.#settle(envelope, result)
    return result.then(
      (outcome) => this.#settle(envelope, outcome),
      (error) => this.#settle(envelope, this.#refuse(envelope, error)),
    )
  }

  /** Answers the sender with an error, where one may be sent. The end of `envelope`'s way. */
  bounce(envelope: Envelope, error: StanzaError, by: string): Outcome {
    const reply = bounce(envelope.stanza, error)
    if (reply === undefined || envelope.origin.kind === 'server')
      return dropped(by, error.condition)
    const answer = new Envelope(envelope.to, envelope.from, reply, SERVER)
    this.#send(this.#tracer?.link(envelope, answer) ?? answer)
    return new Outcome('bounced', by, error.condition)
  }

  /** Settles with an outcome reached outside of the chain (refused by the sender's own hooks). */
  settle(envelope: Envelope, outcome: Outcome): Outcome {
    return this.#settle(envelope, outcome)
  }

  #send(envelope: Envelope): void {
    const outcome = this.route(envelope)
    // `route` itself never rejects.
    if (outcome instanceof Promise) void outcome
  }

  #offer(chain: readonly Link[], first: number, start: Envelope): Outcome | Promise<Outcome> {
    let envelope = start
    for (let i = first; i < chain.length; i++) {
      const { module, stage } = chain[i] as Link
      stage.stanzas++
      if (module.filter !== undefined) {
        const filtered = module.filter(envelope)
        if (filtered instanceof Promise) {
          const before = envelope
          return filtered.then((after) => this.#filtered(chain, i, before, after))
        }
        if (filtered === DROP) return dropped(module.name, 'filtered')
        checkAddresses(module, envelope, filtered)
        envelope = filtered
      }
      const routed = module.route(envelope)
      if (routed instanceof Promise) return routed.then((next) => this.#next(chain, i, next))
      if (routed instanceof Outcome) return routed
      envelope = routed
    }
    this.#log.warn('stanza_unroutable', { from: envelope.from.full, to: envelope.to.full })
    const error = new StanzaError('internal-server-error', { type: 'wait' })
    return this.bounce(envelope, error, 'router')
  }

  async #filtered(
    chain: readonly Link[],
    at: number,
    before: Envelope,
    after: Envelope | typeof DROP,
  ): Promise<Outcome> {
    const { module } = chain[at] as Link
    if (after === DROP) return dropped(module.name, 'filtered')
    checkAddresses(module, before, after)
    return this.#next(chain, at, await module.route(after))
  }

  #next(
    chain: readonly Link[],
    at: number,
    routed: Envelope | Outcome,
  ): Outcome | Promise<Outcome> {
    return routed instanceof Outcome ? routed : this.#offer(chain, at + 1, routed)
  }

  #refuse(envelope: Envelope, error: unknown): Outcome {
    if (error instanceof StanzaError) return this.bounce(envelope, error, 'router')
    this.#log.error('routing_failed', { from: envelope.from.full, to: envelope.to.full, error })
    return this.bounce(
      envelope,
      new StanzaError('internal-server-error', { type: 'wait' }),
      'router',
    )
  }

  #settle(envelope: Envelope, outcome: Outcome): Outcome {
    let row = this.outcomes.get(outcome.by)
    if (row === undefined) {
      row = { delivered: 0, stored: 0, forwarded: 0, answered: 0, bounced: 0, dropped: 0 }
      this.outcomes.set(outcome.by, row)
    }
    row[outcome.fate]++
    countKind(this.counts.received[envelope.origin.kind], envelope.stanza.kind)
    if (!this.#routed.isEmpty) this.#routed.tell(outcome, { envelope })
    this.#tracer?.settle(envelope, outcome)
    return outcome
  }
}

/** A routing module in its place. */
type Link = { readonly module: RoutingModule; readonly stage: Stage }

function checkAddresses(module: RoutingModule, before: Envelope, after: Envelope): void {
  if (after.from.full === before.from.full && after.to.full === before.to.full) return
  throw new Error(`routing module ${module.name}: a filter may not change addresses`)
}
