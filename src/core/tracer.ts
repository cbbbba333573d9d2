import type { Jid } from '../xmpp/jid.ts'
import type { Envelope } from './envelope.ts'
import type { Entry, Handler, HookName } from './hooks.ts'
import type { Maybe } from './maybe.ts'
import type { Outcome } from './outcome.ts'
import type { RoutingModule } from './router.ts'
import type { Stage } from './stages.ts'

/**
 * Follows stanzas on their way. The route asks one question, whether there is a tracer (`Router.tracer`);
 * there is one only while somebody follows something.
 */
export interface Tracer {
  /** A stanza came in from outside: no other stanza is its cause. */
  receive<T>(stage: Stage, envelope: Envelope, work: (envelope: Envelope) => T): T
  /**
   * A stanza passes a stage. What it causes while `work` goes on is known to be caused by it; work with
   * what it gives you, which may be noted. `at`: the resource whose stage this is.
   */
  pass<T>(
    stage: Stage,
    envelope: Envelope,
    work: (envelope: Envelope) => Maybe<T>,
    at?: Jid,
  ): Maybe<T>
  /** Something happened to it, in no time. */
  tell(envelope: Envelope, stage: Stage, what: 'queued' | 'written', at?: Jid): void
  /** `effect` exists because of `cause`. */
  link(cause: Envelope, effect: Envelope): Envelope
  /** Its fate is decided. */
  settle(envelope: Envelope, outcome: Outcome): void
  /** A handler that tells what it did. */
  handler<N extends HookName>(entry: Entry<N>, handler: Handler<N>): Handler<N>
  /** A routing module that tells what it did. */
  module(module: RoutingModule, stage: Stage): RoutingModule
}
