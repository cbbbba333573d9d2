import { z } from 'zod'
import { AccountCache } from '../../core/account-cache.ts'
import { Coherence } from '../../core/coherence.ts'
import { accountJid } from '../../core/config-types.ts'
import type { Envelope } from '../../core/envelope.ts'
import type { Verdict } from '../../core/hook-map.ts'
import { DROP, stop } from '../../core/hooks.ts'
import { after, type Maybe } from '../../core/maybe.ts'
import { defineModule } from '../../core/module.ts'
import { isOwn } from '../../core/privacy.ts'
import { RateLimit } from '../../core/rate-limit.ts'
import { partFrom, taken } from '../../core/user-data.ts'
import { type BareJid, type Jid, tryParseJid } from '../../xmpp/jid.ts'
import { el } from '../../xmpp/xml.ts'
import { showBlocklist } from './admin-commands.ts'
import { type Blocklist, NOBODY } from './blocklist.ts'
import { BLOCKING_NS, Commands } from './commands.ts'
import { REPORTING_NS, Reports } from './reports.ts'
import { BlockingStore, migrations } from './store.ts'

/** Before all that keeps anything of a stanza. */
const FIRST = { order: 10, explain: 'pure' } as const
const HOUR = 3_600_000

/** Cuts off whom an account does not want to hear of, both ways (XEP-0191), and takes reports. */
export const blocking = defineModule({
  name: 'blocking',
  implements: ['XEP-0191 1.3', 'XEP-0377 0.4.1'],
  features: [BLOCKING_NS, REPORTING_NS],
  config: z.strictObject({
    max_items: z.int().min(1).default(1000).describe('addresses that one account may block'),
    cached_items: z
      .int()
      .min(1000)
      .default(200_000)
      .describe('accounts, and addresses they block, that are kept in memory'),
    report_to: accountJid()
      .optional()
      .describe(
        'Who gets reports of abuse as messages; they are logged in any case. An address elsewhere ' +
          'gets those that their authors let out, without their names.',
      ),
    reports_per_hour: z.int().min(0).default(20).describe('reports that one account may make'),
  }),
  migrations,
  data: [{ table: 'blocked', owner: 'account' }],

  commands: [showBlocklist],

  start(context) {
    const { commands: admin, config, configFor, hooks, iq, lasting } = context
    const { router, routes, storage, clock, log } = context
    const { sessions } = context.sessions
    const store = new BlockingStore(storage)
    const coherence = new Coherence(context.cluster, 'blocking')
    const lists = lasting(
      () =>
        new AccountCache({
          coherence,
          load: (owner) => store.load(owner),
          weigh: ({ size }) => size + 1,
          get maxWeight() {
            return (configFor() ?? config).cached_items
          },
        }),
    )
    coherence.keep(lists)
    const limit = new RateLimit({
      limit: config.reports_per_hour,
      window: HOUR,
      maxKeys: 10_000,
      now: () => clock.now(),
    })
    const reports = new Reports({ router, routes, log, recipient: config.report_to, limit })
    const commands = new Commands({
      lists,
      store,
      reports,
      sessions,
      hooks,
      routes,
      maxItems: config.max_items,
    })

    // What has closures is apart: their variables cost where they stand, and nearly nobody blocks.
    const receiving = (envelope: Envelope, jid: Jid): Maybe<Envelope | typeof DROP> =>
      after(lists.get(jid.toBare()), (list) => (blocks(list, jid, envelope.from) ? DROP : envelope))
    const check = (verdict: Verdict | 'block', list: Maybe<Blocklist>, owner: BareJid, peer: Jid) =>
      after(list, (loaded) => (blocks(loaded, owner, peer) ? 'block' : verdict))

    // At hand before the first stanza comes.
    hooks.on(
      'sm_register_connection',
      (resource) => after(lists.get(resource.jid.toBare()), () => resource),
      { onError: 'skip' },
    )
    // What was kept before its sender was blocked.
    hooks.on(
      'user_receive_message',
      (envelope, { session: { jid } }) => {
        return envelope.notes.offline === undefined ? envelope : receiving(envelope, jid)
      },
      FIRST,
    )
    hooks.on(
      'presence_recipients',
      (recipients, { owner }) => {
        const list = lists.get(owner)
        if (list === NOBODY) return recipients
        return after(list, (loaded) =>
          loaded === NOBODY
            ? recipients
            : recipients.filter((peer) => !blocks(loaded, owner, peer)),
        )
      },
      { explain: 'pure' },
    )
    hooks.on(
      'privacy_check_packet',
      (verdict, { owner, envelope, direction }) => {
        const list = lists.get(owner)
        if (list === NOBODY) return verdict
        return check(verdict, list, owner, direction === 'in' ? envelope.from : envelope.to)
      },
      { explain: 'pure' },
    )

    iq.on('account', 'get', BLOCKING_NS, 'blocklist', (request) => commands.list(request))
    iq.on('account', 'set', BLOCKING_NS, 'block', (request) => commands.block(request))
    iq.on('account', 'set', BLOCKING_NS, 'unblock', (request) => commands.unblock(request))

    admin.on(showBlocklist, async ({ jid: owner }) => {
      return { blocked: (await lists.get(owner)).jids.map(({ full }) => full) }
    })

    hooks.on('export_user_data', (parts, { account }) => [
      ...parts,
      partFrom(async () => {
        const { jids } = await lists.get(account)
        const items = jids.map(({ full }) => el('item', { jid: full }))
        return items.length === 0 ? [] : [el('blocklist', { xmlns: BLOCKING_NS }, ...items)]
      }),
    ])
    hooks.on('import_user_data', async (nobody, { account, portion: { part } }) => {
      if (part.name !== 'blocklist' || part.ns !== BLOCKING_NS) return nobody
      const texts = part.elements('item').map((item) => item.attr('jid') ?? '')
      const problems = texts
        .filter((text) => tryParseJid(text) === undefined)
        .map((text) => `blocked "${text}": no address`)
      const jids = texts.map((text) => tryParseJid(text)).filter((jid) => jid !== undefined)
      const { before, after: now } = await lists.change(account, {
        make: (list) => list.with(jids),
        save: (list, old) =>
          store.add(
            account,
            list.jids.filter((jid) => !old.has(jid)),
          ),
      })
      const added = now.size - before.size
      return stop(taken({ added, there: jids.length - added, problems }))
    })

    hooks.on('remove_domain', (domain) => {
      lists.forgetDomain(domain)
      return domain
    })
    hooks.on('remove_user', async (account) => {
      await lists.remove(account, () => store.remove(account, undefined))
      return account
    })
  },
})

function blocks(list: Blocklist, owner: Jid, peer: Jid): boolean {
  return list !== NOBODY && !isOwn(owner, peer) && list.covers(peer)
}
