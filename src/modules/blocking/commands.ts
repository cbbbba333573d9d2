import type { AccountCache } from '../../core/account-cache.ts'
import { Envelope, SERVER } from '../../core/envelope.ts'
import { type HookSource, resultOf } from '../../core/hooks.ts'
import type { IqAnswer, IqRequest } from '../../core/iq.ts'
import type { LocalRoutes } from '../../core/local-routes.ts'
import type { Sessions } from '../../core/sessions.ts'
import { type BareJid, type Jid, tryParseJid } from '../../xmpp/jid.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { StanzaError } from '../../xmpp/stanza-error.ts'
import { type Element, el } from '../../xmpp/xml.ts'
import type { Blocklist } from './blocklist.ts'
import { type Report, type Reports, readReport } from './reports.ts'
import type { BlockingStore } from './store.ts'

declare module '../../core/session.ts' {
  interface SharedState {
    /** The client has asked whom its account blocks, and is told of changes (XEP-0191 §3.3). */
    readonly wantsBlocklist?: boolean
  }
}

export const BLOCKING_NS = 'urn:xmpp:blocking'

type Parts = {
  readonly lists: AccountCache<Blocklist>
  readonly store: BlockingStore
  readonly reports: Reports
  readonly sessions: Sessions
  readonly hooks: HookSource
  readonly routes: LocalRoutes
  /** Addresses that one account may block. */
  readonly maxItems: number
}

/** What clients ask and want of their account's list of blocked addresses (XEP-0191 §3). */
export class Commands {
  readonly #parts: Parts
  #lastId = 0

  constructor(parts: Parts) {
    this.#parts = parts
  }

  async list(request: IqRequest): Promise<IqAnswer> {
    const owner = ownerOf(request)
    request.session?.share({ wantsBlocklist: true })
    const { jids } = await this.#parts.lists.get(owner)
    const blocked = this.#point('blocked_addresses', owner).run(jids, { owner })
    const all = new Set(resultOf(await blocked, jids).map(({ full }) => full))
    return el('blocklist', { xmlns: BLOCKING_NS }, ...[...all].map((jid) => el('item', { jid })))
  }

  async block(request: IqRequest): Promise<IqAnswer> {
    const owner = ownerOf(request)
    const { jids, reports } = readItems(request.payload)
    if (jids.length === 0) throw new StanzaError('bad-request', { text: 'nobody to block' })
    if (jids.some((jid) => jid.bareEquals(owner))) {
      throw new StanzaError('not-allowed', { text: 'nobody blocks oneself' })
    }
    const { lists, store, maxItems } = this.#parts
    const { before } = await lists.change(owner, {
      make: (list) => {
        const longer = list.with(jids)
        if (longer.size <= maxItems || longer === list) return longer
        const text = `an account blocks up to ${maxItems} addresses`
        throw new StanzaError('resource-constraint', { text })
      },
      save: () => store.add(owner, jids),
    })
    this.#push(owner, 'block', jids, request.from)
    const added = jids.filter((jid) => !before.has(jid))
    await this.#show(owner, added, false)
    for (const report of reports) this.#parts.reports.forward(owner, report)
    return undefined
  }

  async unblock(request: IqRequest): Promise<IqAnswer> {
    const owner = ownerOf(request)
    const { jids: named } = readItems(request.payload)
    const jids = named.length === 0 ? undefined : named
    const { lists, store } = this.#parts
    const asked = this.#point('blocked_addresses', owner).run([], { owner })
    const elsewhere = resultOf(await asked, [])
    const { before } = await lists.change(owner, {
      make: (list) => list.without(jids),
      save: () => store.remove(owner, jids),
    })
    if (elsewhere.length > 0) {
      await this.#point('addresses_unblocked', owner).run(jids, { owner })
    }
    this.#push(owner, 'unblock', named, request.from)
    const all = [...before.jids, ...elsewhere]
    const meant = jids && new Set(jids.map(({ full }) => full))
    await this.#show(
      owner,
      all.filter(({ full }) => meant?.has(full) ?? true),
      true,
    )
    return undefined
  }

  /** To all who asked for the list, and to who made the change. */
  #push(owner: BareJid, name: 'block' | 'unblock', jids: readonly Jid[], from: Jid): void {
    const id = `blocking-${(++this.#lastId).toString(36)}`
    const items = jids.map(({ full }) => el('item', { jid: full }))
    const payload = el(name, { xmlns: BLOCKING_NS }, ...items)
    const push = Stanza.build('iq', { type: 'set', id }, payload)
    for (const resource of this.#parts.sessions.of(owner.full)) {
      const isInterested = resource.shared.wantsBlocklist === true || resource.jid.equals(from)
      if (!isInterested) continue
      void resource.deliver(new Envelope(owner, resource.jid, push, SERVER))
    }
  }

  /** Who is blocked sees the account leave; who no longer is sees it come (XEP-0191 §3.3, §3.4). */
  async #show(owner: BareJid, contacts: readonly Jid[], isVisible: boolean): Promise<void> {
    if (contacts.length === 0) return
    const point = this.#point('presence_visibility_changed', owner)
    await point.run({ owner, contacts, isVisible }, {})
  }

  #point<N extends 'presence_visibility_changed' | 'blocked_addresses' | 'addresses_unblocked'>(
    name: N,
    owner: BareJid,
  ) {
    const { hooks, routes } = this.#parts
    return hooks.at(name, routes.find(owner.domain)?.domainType)
  }
}

function ownerOf({ from, to }: IqRequest): BareJid {
  if (!from.bareEquals(to)) throw new StanzaError('forbidden')
  return to.toBare()
}

/** Throws `bad-request` or `jid-malformed`. */
function readItems(command: Element): { jids: Jid[]; reports: Report[] } {
  const jids: Jid[] = []
  const reports: Report[] = []
  for (const item of command.elements('item')) {
    const text = item.attr('jid')
    if (text === undefined) throw new StanzaError('bad-request', { text: 'an item without jid' })
    const jid = tryParseJid(text)
    if (jid === undefined) throw new StanzaError('jid-malformed')
    jids.push(jid)
    const report = readReport(item, jid)
    if (report !== undefined) reports.push(report)
  }
  return { jids, reports }
}
