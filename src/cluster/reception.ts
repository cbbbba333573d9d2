import type { Envelope } from '../core/envelope.ts'
import type { Hooks } from '../core/hooks.ts'
import type { IqDispatcher } from '../core/iq.ts'
import type { LocalRoutes } from '../core/local-routes.ts'
import type { Logger } from '../core/log.ts'
import { after, type Maybe } from '../core/maybe.ts'
import type { Router } from '../core/router.ts'
import type { SessionManager } from '../core/session-manager.ts'
import { overWithin } from '../core/timers.ts'
import { StanzaError } from '../xmpp/stanza-error.ts'
import type { Taker } from './intake.ts'
import type { RemoteComponents } from './remote-components.ts'
import { RemoteResource } from './remote-resource.ts'
import type { Clock } from './transport.ts'

type Parts = {
  readonly clock: Clock
  readonly log: Logger
  readonly hooks: Hooks
  readonly router: Router
  readonly iq: Pick<IqDispatcher, 'accept'>
  readonly routes: LocalRoutes
  readonly sessionManager: SessionManager
  /** Of components to this node. */
  readonly connections: Pick<RemoteComponents, 'find'>
}

/** How often a stanza is handed on before it is taken for undeliverable. */
const MAX_HOPS = 5
/** How long who handed a stanza to the wrong node waits for the right one, milliseconds. */
const PASSING = 3_000

/** What becomes of the stanzas that other nodes hand to this one, and of those that come back from them. */
export class Reception implements Taker {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  toSession(target: string, envelope: Envelope): Maybe<boolean> {
    return this.#orBounced(envelope, () => this.#toSession(target, envelope))
  }

  #toSession(target: string, envelope: Envelope): Maybe<boolean> {
    const { sessionManager } = this.#parts
    const taken = sessionManager.take(target, envelope, this.#domainType(envelope))
    return after(taken, (left) => {
      if (left === undefined) return false
      // Others have it, too: whoever gave it to all of them decides.
      if (left.delivery?.giveBack(left) === false) return false
      // What the session that was here gives back comes first.
      const again = () => this.again(left.shared(undefined))
      return after(sessionManager.afterLeaving(left.to.bare, again), () => true)
    })
  }

  /**
   * Resolves when the node that has the session has dealt with it, or finds it in the store. Before that,
   * whoever handed it to this one must not take it for decided: what it hands to that node itself, or stores,
   * would overtake it.
   */
  passedOn({ to }: Envelope): Promise<unknown> | undefined {
    const { sessionManager } = this.#parts
    const stored = sessionManager.leavingHere(to.bare)
    const waits: Promise<unknown>[] = stored === undefined ? [] : [stored]
    for (const resource of sessionManager.sessions.of(to.bare)) {
      const wait = resource instanceof RemoteResource ? resource.undecided : undefined
      if (wait !== undefined) waits.push(wait)
    }
    if (waits.length === 0) return undefined
    // Nodes that pass something on to each other do not wait for each other for ever.
    return overWithin(this.#parts.clock, PASSING, Promise.all(waits))
  }

  toComponent(target: string, envelope: Envelope): Maybe<unknown> {
    const component = this.#parts.connections.find(target)
    if (component === undefined) return this.again(envelope)
    return this.#orBounced<unknown>(envelope, () => component.handle(envelope))
  }

  toNode(envelope: Envelope): void {
    void this.#parts.iq.accept(envelope)
  }

  again(envelope: Envelope): Maybe<unknown> {
    const hops = (envelope.notes.hops ?? 0) + 1
    if (hops > MAX_HOPS) return this.unreachable(envelope)
    return this.#parts.router.route(envelope.noted({ isRetry: true, hops }))
  }

  keptElsewhere(envelope: Envelope): void {
    const point = this.#parts.hooks.at('message_kept_elsewhere', this.#domainType(envelope))
    point.tell(envelope, {})
  }

  unreachable(envelope: Envelope): Maybe<unknown> {
    const { sessionManager } = this.#parts
    const decide = () => sessionManager.unreachable(envelope, this.#domainType(envelope))
    return this.#orBounced<unknown>(envelope, decide)
  }

  /** What makes a handler throw ends as it does on the route: its sender is told. */
  #orBounced<T>(envelope: Envelope, work: () => Maybe<T>): Maybe<T | false> {
    const failed = (error: unknown): false => {
      // Others have it, too: whoever gave it to all of them decides.
      if (envelope.delivery?.giveBack(envelope) === false) return false
      this.#parts.router.bounce(envelope, this.#answerTo(error, envelope), 'cluster')
      return false
    }
    try {
      const done = work()
      return done instanceof Promise ? done.catch(failed) : done
    } catch (error) {
      return failed(error)
    }
  }

  #answerTo(error: unknown, { from, to }: Envelope): StanzaError {
    if (error instanceof StanzaError) return error
    this.#parts.log.error('cluster_stanza_failed', { from: from.full, to: to.full, error })
    return new StanzaError('internal-server-error', { type: 'wait' })
  }

  #domainType({ to }: Envelope): string {
    return this.#parts.routes.find(to.domain)?.domainType ?? ''
  }
}
