import { z } from 'zod'
import { Coherence } from '../../core/coherence.ts'
import { CommandError } from '../../core/command.ts'
import { size } from '../../core/config-types.ts'
import { Envelope, SERVER } from '../../core/envelope.ts'
import type { ContactInfo, SubscriptionLists } from '../../core/hook-map.ts'
import { stop } from '../../core/hooks.ts'
import { type IqAnswer, type IqRequest, NO_REPLY } from '../../core/iq.ts'
import { after } from '../../core/maybe.ts'
import { defineModule } from '../../core/module.ts'
import type { BareJid, Jid } from '../../xmpp/jid.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { StanzaError } from '../../xmpp/stanza-error.ts'
import { el } from '../../xmpp/xml.ts'
import {
  groupsOf,
  itemResult,
  listRoster,
  removeRosterItem,
  setRosterItem,
} from './admin-commands.ts'
import { Exchange } from './exchange.ts'
import { ROSTER_NS, readChange, writeItem } from './item-xml.ts'
import { Pushes } from './pushes.ts'
import type { Roster } from './roster.ts'
import { type Changed, Rosters } from './rosters.ts'
import { migrations, sqlRosterStore } from './sql-store.ts'
import { subscriptionOf } from './subscription.ts'
import { rosterPart, takeRoster } from './user-data.ts'
import { answerTo } from './versioning.ts'

const VERSIONING = el('ver', { xmlns: 'urn:xmpp:features:rosterver' })
const PRE_APPROVAL = el('sub', { xmlns: 'urn:xmpp:features:pre-approval' })

/** The contacts of each account, and who may see whose presence (RFC 6121 §2 and §3). */
export const roster = defineModule({
  name: 'roster',
  implements: ['RFC 6121', 'XEP-0237 1.3'],
  features: [ROSTER_NS],
  config: z.strictObject({
    max_items: z.int().min(1).default(5000).describe('contacts of one account'),
    max_groups: z.int().min(0).default(50).describe('groups of one contact'),
    max_name: z.int().min(1).default(1023).describe("characters of a contact's name"),
    max_group_name: z.int().min(1).default(1023).describe("characters of a group's name"),
    max_requests: z
      .int()
      .min(1)
      .default(500)
      .describe('subscription requests that wait for one account; more are dropped'),
    max_request_size: size()
      .prefault('8KiB')
      .describe('of a longer subscription request only the fact is kept'),
    cached_items: z
      .int()
      .min(0)
      .default(500_000)
      .describe('contacts of all accounts together that are kept in memory'),
  }),
  migrations,
  data: [
    { table: 'roster', owner: 'owner' },
    { table: 'roster_item', owner: 'owner' },
  ],

  commands: [listRoster, setRosterItem, removeRosterItem],

  start(context) {
    const { commands, config, configFor, hooks, iq, lasting } = context
    const { router, routes, sessions, storage, log, clock } = context
    const coherence = new Coherence(context.cluster, 'roster')
    const rosters = lasting(
      () =>
        new Rosters({
          coherence,
          store: sqlRosterStore(storage),
          now: () => clock.now(),
          get maxCached() {
            return (configFor() ?? config).cached_items
          },
        }),
    )
    coherence.keep(rosters)
    const pushes = new Pushes(sessions.sessions, (owner, item) => {
      const point = hooks.at('roster_item_changed', routes.find(owner.domain)?.domainType)
      point.tell(item, { owner })
    })
    const exchange = new Exchange({
      rosters,
      pushes,
      router,
      routes,
      hooks,
      log,
      limits: {
        maxItems: config.max_items,
        maxRequests: config.max_requests,
        maxRequestSize: config.max_request_size,
      },
    })
    const itemLimits = {
      maxGroups: config.max_groups,
      maxName: config.max_name,
      maxGroupName: config.max_group_name,
    }

    const get = (request: IqRequest): IqAnswer | Promise<IqAnswer> => {
      refuseOthers(request)
      // RFC 6121 §2.1.3.
      if (request.payload.elements().length > 0) {
        throw new StanzaError('bad-request', { text: 'a roster is asked for as a whole' })
      }
      const loaded = rosters.get(request.to.toBare())
      return loaded instanceof Promise
        ? loaded.then((loadedRoster) => answer(loadedRoster, request))
        : answer(loaded, request)
    }

    /** RFC 6121 §2.1.4 and §2.6. Reading, marking interest and answering are one step. */
    const answer = (
      current: Roster,
      { from, to, payload, session, envelope }: IqRequest,
    ): IqAnswer => {
      if (session !== undefined && session.shared.wantsRoster !== true) {
        session.share({ wantsRoster: true })
      }
      const known = payload.attr('ver')
      const wanted = known === undefined ? { kind: 'whole' as const } : answerTo(current, known)
      if (wanted.kind === 'whole') {
        const attributes = { xmlns: ROSTER_NS, ver: current.version }
        return el('query', attributes, ...current.listed().map(writeItem))
      }
      const resource = sessions.sessions.get(from)
      if (wanted.items.length === 0 || resource === undefined) return undefined
      // The empty result first, then what has changed.
      const result = Stanza.build('iq', { type: 'result', id: envelope.stanza.id })
      void resource.deliver(new Envelope(to, from, result, SERVER))
      pushes.catchUp(to.toBare(), resource, wanted.items)
      return NO_REPLY
    }

    const set = async (request: IqRequest): Promise<IqAnswer> => {
      refuseOthers(request)
      const owner = request.to.toBare()
      const { contact, isRemoval, name, groups } = readChange(request.payload, itemLimits)
      if (isRemoval) {
        await exchange.remove(owner, contact)
        return undefined
      }
      if (contact.equals(owner)) {
        throw new StanzaError('not-allowed', { text: 'nobody is a contact of oneself' })
      }
      const tell = ({ roster: changed }: Changed) => pushes.tell(owner, changed, contact)
      const change = await rosters.change(
        owner,
        contact,
        (before, current) => {
          if (current.get(contact) === undefined && current.size >= config.max_items) {
            throw new StanzaError('resource-constraint', { text: 'the roster is full' })
          }
          return { ...before, name, groups, isListed: true }
        },
        tell,
      )
      // RFC 6121 §2.4.2: every set is pushed, and clients may wait for it.
      if (!change.isChanged) tell(change)
      return undefined
    }

    iq.on('account', 'get', ROSTER_NS, 'query', get)
    iq.on('account', 'set', ROSTER_NS, 'query', set)

    commands.on(listRoster, async ({ jid: owner }) => {
      const current = await rosters.get(owner)
      const shown = [...current.all()].filter((each) => each.isListed || each.request !== undefined)
      return { items: shown.map(itemResult) }
    })
    commands.on(setRosterItem, async ({ jid: owner, contact, name, groups, subscription }) => {
      if (contact.equals(owner)) {
        throw new CommandError('invalid', 'contact: nobody is a contact of oneself')
      }
      const assigned = await exchange.assign(owner, contact, {
        name,
        groups: groups === undefined ? undefined : groupsOf(groups),
        subscription,
      })
      if (assigned === undefined) throw new CommandError('conflict', 'the roster is full')
      return { item: itemResult(assigned) }
    })
    commands.on(removeRosterItem, async ({ jid: owner, contact }) => {
      const current = await rosters.get(owner)
      if (current.get(contact)?.isListed !== true) {
        throw new CommandError('not-found', `${contact} is no contact of ${owner}`)
      }
      await exchange.remove(owner, contact)
      return { removed: 1 }
    })

    hooks.on('c2s_stream_features', (features, { account }) =>
      account === undefined ? features : [...features, VERSIONING, PRE_APPROVAL],
    )

    hooks.on(
      'roster_get_jid_info',
      (info, { owner, contact }) => {
        const loaded = rosters.get(owner)
        return loaded instanceof Promise
          ? loaded.then((current) => infoOf(current, contact) ?? info)
          : (infoOf(loaded, contact) ?? info)
      },
      { explain: 'pure' },
    )

    hooks.on(
      'roster_get_subscription_lists',
      (lists, { owner }) => {
        const loaded = rosters.get(owner)
        return loaded instanceof Promise
          ? loaded.then((current) => listsOf(current, owner, lists))
          : listsOf(loaded, owner, lists)
      },
      { explain: 'pure' },
    )

    hooks.on(
      'roster_get_groups',
      (others, { owner }) =>
        after(rosters.get(owner), (roster) => {
          const own = roster.listed().flatMap(({ groups }) => groups)
          return new Set([...(others ?? []), ...own])
        }),
      { explain: 'pure' },
    )

    const record = (type: string, owner: Jid) =>
      `record "${type}" in the roster of ${owner.bare}, and tell whom it concerns`
    hooks.on(
      'roster_in_subscription',
      (_, { envelope, type }) => exchange.receive(envelope, type),
      {
        explain: (verdict, { envelope, type }) => ({ verdict, would: record(type, envelope.to) }),
      },
    )
    hooks.on('roster_out_subscription', (envelope, { type }) => exchange.send(envelope, type), {
      explain: (envelope, { type }) => ({
        verdict: stop(envelope),
        would: record(type, envelope.from),
      }),
    })

    hooks.on('export_user_data', (parts, { account }) => [
      ...parts,
      rosterPart(async () => await rosters.get(account)),
    ])
    hooks.on('import_user_data', async (nobody, { account, portion }) => {
      const tell = ({ roster: changed, after }: Changed, contact: BareJid) => {
        if (after?.isListed === true) pushes.tell(account, changed, contact)
      }
      const all = await takeRoster(rosters, account, portion, tell)
      return all === undefined ? nobody : stop(all)
    })

    hooks.on('remove_domain', (domain) => {
      rosters.forgetDomain(domain)
      return domain
    })
    hooks.on('remove_user', async (account) => {
      await exchange.removeAll(account)
      return account
    })
  },
})

/** RFC 6121 §2.3.3: an account's roster is its own. */
function refuseOthers({ from, to }: IqRequest): void {
  if (!from.bareEquals(to)) throw new StanzaError('forbidden')
}

function infoOf(current: Roster, contact: BareJid): ContactInfo | undefined {
  const item = current.get(contact)
  if (item === undefined) return undefined
  return { subscription: subscriptionOf(item.state), groups: item.groups }
}

/** Adds to what other handlers know, such as shared groups. */
function listsOf(current: Roster, owner: BareJid, others: SubscriptionLists): SubscriptionLists {
  const { from, to, requests } = current.lists
  const pending = requests.map(
    ({ contact, request }) => new Envelope(contact, owner, request as Stanza, SERVER),
  )
  return {
    from: others.from.length === 0 ? from : [...others.from, ...from],
    to: others.to.length === 0 ? to : [...others.to, ...to],
    pending: others.pending.length === 0 ? pending : [...others.pending, ...pending],
  }
}
