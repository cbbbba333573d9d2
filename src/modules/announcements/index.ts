import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import { CommandError } from '../../core/command.ts'
import { Envelope, SERVER } from '../../core/envelope.ts'
import { defineModule } from '../../core/module.ts'
import type { Session } from '../../core/session.ts'
import { type Jid, parseJid } from '../../xmpp/jid.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { el } from '../../xmpp/xml.ts'
import { announcementCommands, motd, welcome } from './admin-commands.ts'
import { CurrentAnnouncements } from './current.ts'
import {
  type Announcement,
  AnnouncementStore,
  type Kind,
  migrations,
  removeOfDomain,
} from './store.ts'

declare module '../../core/cluster.ts' {
  interface Topics {
    /** What is stored of them is another. */
    announcements: { readonly question: null; readonly answer: null }
  }
}

/** A headline is of its moment (RFC 6121 §5.2.2); what new users are told they may want to keep. */
const TYPES = { motd: 'headline', welcome: 'chat' } as const satisfies Record<Kind, string>

/**
 * Standing messages of the server to its users: the message of the day, which each account gets once,
 * and the one for new accounts (XEP-0133 §4.23 to §4.27).
 *
 * That an account has one is durable before it is sent: who gets a message of the day twice would stop
 * reading them.
 */
export const announcements = defineModule({
  name: 'announcements',
  implements: [],
  config: z.strictObject({}),
  migrations,
  data: [
    { table: 'announcement_seen', owner: 'account' },
    { table: 'announcement_due', owner: 'account' },
    removeOfDomain,
  ],
  commands: announcementCommands,

  async start({
    cluster,
    commands,
    hooks,
    lasting,
    router,
    routes,
    sessions,
    storage,
    clock,
    log,
  }) {
    const store = new AnnouncementStore(storage)
    const current = lasting(() => new CurrentAnnouncements(store))
    await current.load()
    cluster.on('announcements', async () => {
      await current.load()
      return null
    })
    const changed = async () => {
      await current.load()
      await cluster.tell('announcements', null)
    }

    // --- To users.

    const send = async ({ kind, body }: Announcement, to: Jid) => {
      const message = Stanza.build('message', { type: TYPES[kind] }, el('body', {}, body))
      await router.route(new Envelope(parseJid(to.domain), to, message, SERVER))
    }
    const greet = async ({ jid: to, info }: Session) => {
      const first = current.of(to.domain, 'welcome')
      if (first !== undefined && !info.isAnonymous && (await store.takeDue(to.bare))) {
        await send(first, to)
      }
      const daily = current.of(to.domain, 'motd')
      if (daily === undefined) return
      // An account that is gone afterwards has seen nothing before.
      if (info.isAnonymous || (await store.see(to.bare, daily.id))) await send(daily, to)
    }
    hooks.on('user_available', (available, { session }) => {
      // The presence goes on at once.
      if (!current.isEmpty) {
        greet(session).catch((error) =>
          log.warn('announcement_not_sent', { to: available.full, error }),
        )
      }
      return available
    })
    hooks.on(
      'register_user',
      async (account) => {
        if (current.of(account.domain, 'welcome') !== undefined) await store.expect(account.full)
        return account
      },
      { onError: 'skip' },
    )
    hooks.on(
      'remove_user',
      async (account) => {
        await store.forget(account.full)
        return account
      },
      { onError: 'skip' },
    )
    hooks.on('remove_domain', (domain) => {
      current.forgetDomain(domain)
      return domain
    })

    // --- From administrators.

    /** Throws CommandError `not-found`. */
    const meant = (domain: string | undefined): readonly string[] => {
      if (domain === undefined) return routes.hosted
      if (routes.isHosted(domain)) return [domain]
      throw new CommandError('not-found', `${domain} is not a domain of this server`)
    }
    const set = async (kind: Kind, domains: readonly string[], body: string) => {
      const set_at = clock.now()
      await store.set(domains.map((domain) => ({ domain, kind, id: randomUUID(), body, set_at })))
      await changed()
    }
    for (const [kind, { show, remove }] of [
      ['motd', motd],
      ['welcome', welcome],
    ] as const) {
      commands.on(show, ({ domain }) => ({
        messages: meant(domain)
          .flatMap((each) => current.of(each, kind) ?? [])
          .map((each) => ({
            domain: each.domain,
            set_at: new Date(each.set_at).toISOString(),
            body: each.body,
          })),
      }))
      commands.on(remove, async ({ domain }) => {
        const domains = await store.remove(meant(domain), kind)
        if (domains.length === 0) throw new CommandError('not-found', 'there is none')
        await changed()
        return { domains }
      })
    }
    commands.on(motd.set, async ({ body, domain }, { progress, signal }) => {
      const domains = [...meant(domain)]
      await set('motd', domains, body)
      const connected = [...sessions.sessions.values()]
        .filter(
          ({ jid: { domain: its }, priority }) => domains.includes(its) && (priority ?? -1) >= 0,
        )
        .map((session) => session.jid.bare)
      const accounts = [...new Set(connected)]
      let [done, sent] = [0, 0]
      for (const account of accounts) {
        if (signal.aborted) break
        const to = parseJid(account)
        const message = current.of(to.domain, 'motd')
        if (message !== undefined && (await store.see(account, message.id))) {
          await send(message, to)
          sent++
        }
        progress({ done: ++done, total: accounts.length, of: 'accounts' })
      }
      return { domains, sent }
    })
    commands.on(motd.edit, async ({ body, domain }) => {
      const domains = await store.edit(meant(domain), 'motd', body)
      if (domains.length === 0) throw new CommandError('not-found', 'there is none to edit')
      await changed()
      return { domains }
    })
    commands.on(welcome.set, async ({ body, domain }) => {
      const domains = [...meant(domain)]
      await set('welcome', domains, body)
      return { domains }
    })
  },
})
