import { Envelope, type Origin } from '../../core/envelope.ts'
import type { PresenceSending, SubscriptionLists } from '../../core/hook-map.ts'
import { type HookSource, resultOf } from '../../core/hooks.ts'
import type { LocalRoutes } from '../../core/local-routes.ts'
import { after, type Maybe } from '../../core/maybe.ts'
import type { Router } from '../../core/router.ts'
import type { Resource } from '../../core/session.ts'
import type { BareJid, Jid } from '../../xmpp/jid.ts'
import type { Stanza } from '../../xmpp/stanza.ts'

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

  /** The account's roster, without whom the account, or this resource of it, hides from. */
  audience(owner: BareJid, sender?: Resource): Maybe<SubscriptionLists> {
    return after(this.lists(owner), (lists) =>
      after(this.visible(lists.from, { owner, sender }), (from) =>
        after(this.visible(lists.to, { owner, sender, isProbe: true }), (to) =>
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

  /** Those of `recipients` from whom what is sent does not hide. */
  visible(recipients: readonly Jid[], sending: PresenceSending): Maybe<readonly Jid[]> {
    const point = this.#parts.hooks.at('presence_recipients', this.domainType(sending.owner))
    if (point.isEmpty || recipients.length === 0) return recipients
    return after(point.run(recipients, sending), (verdict) => resultOf(verdict, []))
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
