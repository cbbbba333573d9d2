import { z } from 'zod'
import { Coherence } from '../../core/coherence.ts'
import { size } from '../../core/config-types.ts'
import type { Envelope } from '../../core/envelope.ts'
import { DROP, stop } from '../../core/hooks.ts'
import { after } from '../../core/maybe.ts'
import { defineModule } from '../../core/module.ts'
import { isOwn } from '../../core/privacy.ts'
import { BEHIND, WrittenBehind } from '../../core/written-behind.ts'
import { StanzaError } from '../../xmpp/stanza-error.ts'
import { Availability } from './availability.ts'
import { Broadcast } from './broadcast.ts'
import { Duties } from './duties.ts'
import { LastPresences } from './last-presences.ts'
import { Probes } from './probes.ts'
import { migrations, sqlLastPresenceStore } from './sql-store.ts'
import { lastPresencePart, takeLastPresence } from './user-data.ts'
import { Visibility } from './visibility.ts'

/** Who is available, and who learns of it (RFC 6121 §4). */
export const presence = defineModule({
  name: 'presence',
  implements: ['RFC 6121'],
  config: z.strictObject({
    max_directed: z
      .int()
      .min(1)
      .default(1000)
      .describe('addresses that one session may have sent directed presence to'),
    max_last_size: size()
      .prefault('4KiB')
      .describe('of a longer last presence only the time is kept'),
    cached_last: z
      .int()
      .min(0)
      .default(20_000)
      .describe('accounts whose last presence is kept in memory'),
    requests_need_presence: z
      .boolean()
      .default(false)
      .describe(
        'whether requests (iq) to a resource of an account are answered `service-unavailable` ' +
          'unless it shares its presence with who asks, by a subscription or directly',
      ),
  }),
  migrations,
  data: [{ table: 'last_presence', owner: 'owner' }],

  start(context) {
    const { config, configFor, hooks, router, routes, sessions, storage, log, clock } = context
    const coherence = new Coherence(context.cluster, 'presence')
    const { duties, lasts, behind } = context.lasting(
      () => {
        const behind = new WrittenBehind(context.cluster)
        const settingsFor = (domain?: string) => configFor(domain) ?? config
        return {
          behind,
          duties: new Duties((domain) => settingsFor(domain).max_directed),
          lasts: new LastPresences({
            coherence,
            behind,
            store: sqlLastPresenceStore(storage),
            get maxCached() {
              return settingsFor().cached_last
            },
            maxSizeFor: (domain) => settingsFor(domain).max_last_size,
          }),
        }
      },
      ({ behind }) => behind.stop(),
    )
    context.every(BEHIND, () => behind.flush())
    coherence.keep(lasts)
    const broadcast = new Broadcast({ hooks, router, routes })
    const probes = new Probes({
      hooks,
      router,
      sessions: sessions.sessions,
      broadcast,
      duties,
      lasts,
      log,
    })
    const visibility = new Visibility({ sessions: sessions.sessions, broadcast, probes, duties })
    const availability = new Availability({
      hooks,
      router,
      sessions: sessions.sessions,
      broadcast,
      probes,
      duties,
      lasts,
      log,
      clock,
    })

    hooks.on(
      'user_send_presence',
      (envelope, { session }) => after(availability.send(envelope, session), () => envelope),
      {
        explain: (envelope) => ({
          verdict: envelope,
          would: 'pass it on to whom it concerns, and change what is known of the sender',
        }),
      },
    )
    hooks.on(
      'user_receive_presence',
      (envelope, { session }) => {
        switch (envelope.stanza.type) {
          case 'probe':
            return after(probes.answerFor(session, envelope), () => DROP)
          case 'unavailable':
          case 'error':
            duties.forget(session, envelope.from)
        }
        return envelope
      },
      {
        explain: (envelope) => {
          const isProbe = envelope.stanza.type === 'probe'
          if (!isProbe) return { verdict: envelope }
          return { verdict: DROP, would: `show ${envelope.from} the presence of this resource` }
        },
      },
    )
    if (config.requests_need_presence) {
      hooks.on(
        'user_receive_iq',
        (envelope, { session }) =>
          !envelope.stanza.isRequest || isOwn(session.jid, envelope.from)
            ? envelope
            : after(probes.isShared(session, envelope.from), (isShared) => {
                if (!isShared) throw new StanzaError('service-unavailable')
                return envelope
              }),
        { explain: 'pure' },
      )
    }
    hooks.on('presence_probe', (envelope) => after(probes.answer(envelope), () => envelope), {
      explain: (envelope) => ({
        verdict: envelope,
        would: `show ${envelope.from} the presence of ${envelope.to.bare}, if it may see that`,
      }),
    })
    hooks.on(
      'user_terminate',
      (reason, { session }) => after(availability.terminate(reason, session), () => reason),
      { order: 90 },
    )
    // Presence is of its moment: nobody is told later what somebody else did not get.
    hooks.on('filter_unacknowledged_messages', (envelopes) =>
      envelopes.some(isPresence) ? envelopes.filter((one) => !isPresence(one)) : envelopes,
    )
    hooks.on('session_cleanup', (resource) => after(availability.lost(resource), () => resource))
    hooks.on('roster_changed', (change) => after(visibility.rosterChanged(change), () => change))
    hooks.on('presence_visibility_changed', (change) =>
      after(visibility.visibilityChanged(change), () => change),
    )
    hooks.on('remove_domain', (domain) => {
      // It is removed with the rest.
      behind.flush()
      lasts.forgetDomain(domain)
      return domain
    })
    hooks.on('export_user_data', (parts, { account }) => [
      ...parts,
      lastPresencePart(lasts, account),
    ])
    hooks.on('import_user_data', async (nobody, { account, portion }) => {
      const took = await takeLastPresence(lasts, account, portion)
      return took === undefined ? nobody : stop(took)
    })
    hooks.on('remove_user', async (account) => {
      await lasts.remove(account)
      return account
    })
  },
})

function isPresence({ stanza }: Envelope): boolean {
  return stanza.kind === 'presence'
}
