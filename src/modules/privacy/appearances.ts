import type { SubscriptionLists } from '../../core/hook-map.ts'
import { type HookSource, resultOf } from '../../core/hooks.ts'
import type { LocalRoutes } from '../../core/local-routes.ts'
import type { Resource } from '../../core/session.ts'
import type { BareJid } from '../../xmpp/jid.ts'
import type { AccountLists } from './account-lists.ts'
import { type Guard, listOf } from './guard.ts'
import type { PrivacyList } from './privacy-list.ts'

type Parts = {
  readonly guard: Guard
  readonly hooks: HookSource
  readonly routes: LocalRoutes
}

/** A resource, and the list it went by before. */
type Changed = { readonly resource: Resource; readonly before: PrivacyList | undefined }

const NOBODY: SubscriptionLists = { from: [], to: [], pending: [] }

/**
 * Whoever may no longer see a resource sees it leave, and whoever may again sees it come
 * (XEP-0016 §2.11).
 */
export class Appearances {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  async changed(owner: BareJid, changes: readonly Changed[], lists: AccountLists): Promise<void> {
    const { hooks, routes } = this.#parts
    const affected = changes.filter(
      ({ resource, before }) =>
        resource.priority !== undefined && before !== listOf(lists, resource),
    )
    if (affected.length === 0) return
    const domainType = routes.find(owner.domain)?.domainType
    const asked = await hooks.at('roster_get_subscription_lists', domainType).run(NOBODY, { owner })
    const subscribers = resultOf(asked, NOBODY).from
    const point = hooks.at('presence_visibility_changed', domainType)
    for (const { resource, before } of affected) {
      const now = listOf(lists, resource)
      const hidden: BareJid[] = []
      const shown: BareJid[] = []
      for (const contact of subscribers) {
        const [was, is] = await Promise.all([
          this.#parts.guard.shows(before, owner, contact),
          this.#parts.guard.shows(now, owner, contact),
        ])
        if (was !== is) (is ? shown : hidden).push(contact)
      }
      const change = { owner, sender: resource }
      if (hidden.length > 0) await point.run({ ...change, contacts: hidden, isVisible: false }, {})
      if (shown.length > 0) await point.run({ ...change, contacts: shown, isVisible: true }, {})
    }
  }
}
