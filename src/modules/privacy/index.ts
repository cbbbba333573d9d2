import { z } from 'zod'
import { AccountCache } from '../../core/account-cache.ts'
import { Coherence } from '../../core/coherence.ts'
import { resultOf, stop } from '../../core/hooks.ts'
import { after } from '../../core/maybe.ts'
import { defineModule } from '../../core/module.ts'
import { partFrom, taken } from '../../core/user-data.ts'
import type { BareJid } from '../../xmpp/jid.ts'
import { StanzaError } from '../../xmpp/stanza-error.ts'
import { el } from '../../xmpp/xml.ts'
import { blockedBy, NO_LISTS, unblocked } from './account-lists.ts'
import { listsResult, showPrivacyLists } from './admin-commands.ts'
import { Appearances } from './appearances.ts'
import { Guard } from './guard.ts'
import { PRIVACY_NS, readList, writeList } from './list-xml.ts'
import { Requests } from './requests.ts'
import { migrations, sqlPrivacyStore } from './sql-store.ts'

/** Before all that keeps anything of a stanza. */
const FIRST = { order: 10, explain: 'pure' } as const

/** Lists of rules that say who may reach an account, and what leaves it (XEP-0016). */
export const privacy = defineModule({
  name: 'privacy',
  implements: ['XEP-0016 1.7'],
  features: [PRIVACY_NS],
  config: z.strictObject({
    max_lists: z.int().min(1).max(1000).default(20).describe('lists of one account'),
    max_items: z.int().min(1).default(1000).describe('rules of one list'),
    cached_items: z
      .int()
      .min(1000)
      .default(200_000)
      .describe('accounts, and rules of their lists, that are kept in memory'),
  }),
  migrations,
  data: [{ table: 'privacy_list', owner: 'account' }],

  commands: [showPrivacyLists],

  start(context) {
    const { commands, config, configFor, hooks, iq, routes, storage, lasting } = context
    const { sessions } = context.sessions
    const store = sqlPrivacyStore(storage)
    const coherence = new Coherence(context.cluster, 'privacy')
    const lists = lasting(
      () =>
        new AccountCache({
          coherence,
          load: (owner) => store.load(owner),
          weigh: ({ all }) => all.reduce((sum, { items }) => sum + items.length + 1, 1),
          get maxWeight() {
            return (configFor() ?? config).cached_items
          },
        }),
    )
    coherence.keep(lists)
    const guard = new Guard({ lists, sessions, hooks, routes })
    const appearances = new Appearances({ guard, hooks, routes })
    const limits = { maxLists: config.max_lists, maxItems: config.max_items }
    const groupsOf = async (owner: BareJid) => {
      const domainType = routes.find(owner.domain)?.domainType
      const asked = await hooks.at('roster_get_groups', domainType).run(undefined, { owner })
      return resultOf(asked, undefined)
    }
    const requests = new Requests({ lists, store, sessions, appearances, groupsOf, limits })

    // At hand before the first stanza comes.
    hooks.on(
      'sm_register_connection',
      (resource) => after(lists.get(resource.jid.toBare()), () => resource),
      { onError: 'skip' },
    )
    hooks.on(
      'privacy_check_packet',
      (verdict, { owner, envelope, direction }) =>
        verdict === 'allow' ? guard.verdict(owner, envelope, direction) : verdict,
      { explain: 'pure' },
    )
    hooks.on(
      'sm_message_decided',
      (envelope, { targets }) => guard.decided(envelope, targets),
      FIRST,
    )
    for (const kind of ['message', 'presence', 'iq'] as const) {
      hooks.on(
        `user_receive_${kind}`,
        (envelope, { session }) => guard.receiving(envelope, session),
        FIRST,
      )
    }
    hooks.on(
      'presence_recipients',
      (recipients, sending) => guard.recipients(recipients, sending),
      { explain: 'pure' },
    )

    iq.on('account', 'get', PRIVACY_NS, 'query', (request) => requests.get(request))
    iq.on('account', 'set', PRIVACY_NS, 'query', (request) => requests.set(request))

    commands.on(showPrivacyLists, async ({ jid: owner }) => {
      return { lists: listsResult(await lists.get(owner)) }
    })

    hooks.on('blocked_addresses', (blocked, { owner }) =>
      after(lists.get(owner), (loaded) =>
        loaded === NO_LISTS ? blocked : [...blocked, ...blockedBy(loaded)],
      ),
    )
    hooks.on('addresses_unblocked', async (addresses, { owner }) => {
      const named = addresses && new Set(addresses.map(({ full }) => full))
      await lists.change(owner, {
        make: (before) => unblocked(before, ({ full }) => named?.has(full) ?? true),
        save: async ({ default: list }) => list && store.put(owner, list),
        committed: ({ default: list }) => list && requests.push(owner, list.name),
      })
      return addresses
    })

    hooks.on('export_user_data', (parts, { account }) => [
      ...parts,
      partFrom(async () => {
        const { all, default: chosen } = await lists.get(account)
        if (all.length === 0) return []
        const named = chosen && el('default', { name: chosen.name })
        return [el('query', { xmlns: PRIVACY_NS }, named, ...all.map(writeList))]
      }),
    ])
    hooks.on('import_user_data', async (nobody, { account, portion: { part } }) => {
      if (part.name !== 'query' || part.ns !== PRIVACY_NS) return nobody
      const problems: string[] = []
      const read = part.elements('list').flatMap((element) => {
        try {
          return readList(element)
        } catch (error) {
          if (!(error instanceof StanzaError)) throw error
          problems.push(`privacy list "${element.attr('name') ?? ''}": ${error.message}`)
          return []
        }
      })
      const wanted = part.child('default')?.attr('name')
      let added = 0
      await lists.change(account, {
        make(before) {
          const missing = read.filter(({ name }) => before.get(name) === undefined)
          added = missing.length
          const all = missing.reduce((lists, list) => lists.with(list), before)
          // Which list applies the account decides, once it has any.
          return before === NO_LISTS && wanted !== undefined ? all.withDefault(wanted) : all
        },
        async save(after, before) {
          for (const list of after.all) {
            if (before.get(list.name) === undefined) await store.put(account, list)
          }
          if (after.default !== before.default) await store.setDefault(account, after.default?.name)
        },
      })
      return stop(taken({ added, there: read.length - added, problems }))
    })

    hooks.on('remove_domain', (domain) => {
      lists.forgetDomain(domain)
      return domain
    })
    hooks.on('remove_user', async (account) => {
      await lists.remove(account, () => store.removeAll(account))
      return account
    })
  },
})
