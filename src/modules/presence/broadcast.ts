import { Envelope, type Origin } from '../../core/envelope.ts'
import type { SubscriptionLists } from '../../core/hook-map.ts'
import { type HookSource, resultOf } from '../../core/hooks.ts'
import type { LocalRoutes } from '../../core/local-routes.ts'
import type { Router } from '../../core/router.ts'
import type { BareJid, Jid } from '../../xmpp/jid.ts'
import type { Stanza } from '../../xmpp/stanza.ts'
import { after, type Maybe } from './maybe.ts'

const NOBODY: SubscriptionLists = { from: [], to: [], pending: [] }

type Parts = {
  readonly hooks: HookSource
  readonly router: Router
  readonly routes: LocalRoutes
}

/** Sends one presence to many, and knows to whom. */
export class Broadcast {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** The account's roster, without whom the account hides from. */
  audience(owner: BareJid): Maybe<SubscriptionLists> {
    return after(this.lists(owner), (lists) =>
      after(this.visible(owner, lists.from), (from) =>
        after(this.visible(owner, lists.to), (to) =>
          from === lists.from && to === lists.to
            ? lists
            : { from: from as BareJid[], to: to as BareJid[], pending: lists.pending },
        ),
      ),
    )
  }

  lists(owner: BareJid): Maybe<SubscriptionLists> {
    const point = this.#parts.hooks.at('roster_get_subscription_lists', this.domainType(owner))
    return after(point.run(NOBODY, { owner }), (verdict) => resultOf(verdict, NOBODY))
  }

  /** Those of `recipients` whom the account does not hide from. */
  visible(owner: BareJid, recipients: readonly Jid[]): Maybe<readonly Jid[]> {
    const point = this.#parts.hooks.at('presence_recipients', this.domainType(owner))
    if (point.isEmpty || recipients.length === 0) return recipients
    return after(point.run(recipients, { owner }), (verdict) => resultOf(verdict, []))
  }

  /**
   * Routes `stanza` to each recipient. The stanza is shared, and each recipient's sessions share
   * one text. The promise, if there is one, only says that all is on its way.
   */
  send(from: Jid, recipients: readonly Jid[], stanza: Stanza, origin: Origin): Maybe<void> {
    let pending: Promise<unknown>[] | undefined
    for (const to of recipients) {
      const outcome = this.#parts.router.route(new Envelope(from, to, stanza, origin))
      if (!(outcome instanceof Promise)) continue
      pending ??= []
      pending.push(outcome)
    }
    return pending === undefined ? undefined : Promise.all(pending).then(() => {})
  }

  domainType(owner: Jid): string | undefined {
    return this.#parts.routes.find(owner.domain)?.domainType
  }
}
