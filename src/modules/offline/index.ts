import { z } from 'zod'
import { duration, size } from '../../core/config-types.ts'
import type { Envelope } from '../../core/envelope.ts'
import { type Explained, type Stop, stop, type Verdict } from '../../core/hooks.ts'
import { after, type Maybe } from '../../core/maybe.ts'
import { defineModule } from '../../core/module.ts'
import { dropped, Outcome } from '../../core/outcome.ts'
import { isLocalSession } from '../../core/session.ts'
import { StorageError, type StorageErrorKind } from '../../core/storage.ts'
import { PIE_NS } from '../../core/user-data.ts'
import type { BareJid } from '../../xmpp/jid.ts'
import { StanzaError } from '../../xmpp/stanza-error.ts'
import { countOffline, listOffline, messageResult, purgeOffline } from './admin-commands.ts'
import { Backlog } from './backlog.ts'
import { Removals } from './removals.ts'
import { verdictOn, withoutForgedDelays } from './rules.ts'
import { migrations, OfflineStore, sizeOf } from './store.ts'
import { UsageCache } from './usage.ts'
import { OFFLINE_MESSAGES, offlinePart, takeOffline } from './user-data.ts'

declare module '../../core/cluster.ts' {
  interface Topics {
    /** Something waits for an account, its bare JID, of which a session is at the node that is asked. */
    offline_look: { readonly question: string; readonly answer: null }
  }
}

const BY = 'offline'
/** How often what the disk did not take is tried again, milliseconds. */
const RETRY = 1_000
/** How often it is looked whether who was not there is there after all, milliseconds. */
const LOOK = 1_000

/** After these a write may have been carried out, for all that is known. */
const MAY_BE_STORED: ReadonlySet<string> = new Set(['io', 'other'] satisfies StorageErrorKind[])

type Decided = Verdict<'offline_message'>

/**
 * Keeps messages for accounts without an available resource, and delivers them to the first that
 * comes (XEP-0160). They leave the store when the client has them, not before.
 */
export const offline = defineModule({
  name: 'offline',
  implements: ['XEP-0160 1.0.1', 'XEP-0203 2.0', 'XEP-0334 1.0.0'],
  features: ['msgoffline'],
  config: z.strictObject({
    max_messages: z
      .int()
      .min(1)
      .default(1_000)
      .describe('Messages kept for one account; further ones go back to their senders.'),
    max_bytes: size({ min: '64KiB' })
      .prefault('4MiB')
      .describe('What is kept for one account, altogether.'),
    batch: z
      .int()
      .min(1)
      .max(1_000)
      .default(100)
      .describe('Messages sent to a client before it must have acknowledged them.'),
    patience: duration({ min: '1s' })
      .prefault('1m')
      .describe('How long that is waited for while newer messages wait behind.'),
  }),
  migrations,
  data: [{ table: 'offline_message', owner: 'account', key: 'seq' }],

  commands: [countOffline, listOffline, purgeOffline],

  async start(context) {
    const { commands, config, configFor, hooks, lasting } = context
    const { router, sessions, storage, cluster, routes, clock, places, log, every } = context
    const { store, usage, removals, backlog } = lasting(
      () => {
        const store = new OfflineStore(storage, { isShared: cluster.isShared || storage.isShared })
        const settingsFor = (domain: string) => configFor(domain) ?? config
        const usage = new UsageCache(store, (domain) => {
          const { max_messages, max_bytes } = settingsFor(domain)
          return { maxMessages: max_messages, maxBytes: max_bytes }
        })
        const removals = new Removals({ store, usage, log })
        const lookAt = (node: string, account: string) => {
          // What an earlier run of this node had is not there any more, nor is it elsewhere.
          if (node === cluster.self.node) return undefined
          // A node that is gone has no session to give it to.
          return cluster.ask(node, 'offline_look', account).catch(() => null)
        }
        const all = sessions.sessions
        const { isShared } = cluster
        const parts = { store, usage, removals, sessions: all, log, lookAt, isShared, settingsFor }
        return { store, usage, removals, backlog: new Backlog(parts) }
      },
      ({ backlog, removals }) => {
        backlog.stop()
        return removals.stop()
      },
    )
    places.startBehind(await store.lastPlace())
    const isHosted = (domain: string) => routes.isHosted(domain)

    /** Anonymous users do not come back. */
    const isPassing = (account: BareJid) =>
      sessions.sessions.of(account.full).some(({ info }) => info.isAnonymous)

    const tellFailure = async (envelope: Envelope) => {
      const domainType = routes.find(envelope.to.domain)?.domainType
      await hooks.at('failed_to_store_message', domainType).run(envelope, {})
    }

    /** It may have been: whoever were told that it was not would be surprised by an answer. */
    const isKept = async (
      envelope: Envelope,
      account: BareJid,
      place: number,
      error: unknown,
    ): Promise<boolean> => {
      if (!(error instanceof StorageError) || !MAY_BE_STORED.has(error.kind)) return false
      return await store.holds(account, envelope, place).catch(() => false)
    }

    /** Unless the message was kept after all its sender is told. */
    const refuse = async (envelope: Envelope, account: BareJid, place: number, error: unknown) => {
      if (await isKept(envelope, account, place, error)) return
      log.error('offline_message_not_stored', { account, error })
      usage.forget(account.full)
      // Somebody has a durable copy still, and comes back with it; or a client counts what we handle, and
      // sends it again. An error could be lost with its session.
      const { notes, origin, settlement } = envelope
      if (notes.kept !== undefined || (origin.kind === 'c2s' && settlement !== undefined))
        throw error
      await tellFailure(envelope)
      const isFull =
        error instanceof StorageError && (error.kind === 'full' || error.kind === 'busy')
      const condition = isFull ? 'resource-constraint' : 'internal-server-error'
      const outcome = router.bounce(envelope, new StanzaError(condition, { type: 'wait' }), BY)
      // Nobody could be told: then the sender must not believe that it arrived.
      if (outcome.fate !== 'bounced') throw error
    }

    /** The write is on its way, in its place; nobody but the acknowledgement waits for its end. */
    const write = (envelope: Envelope, account: BareJid): Stop<Outcome> => {
      const place = envelope.notes.place ?? places.next()
      const settled = store
        .add(account, envelope, clock.now(), place)
        .catch((error) => refuse(envelope, account, place, error))
      settled.catch(() => {})
      envelope.settlement?.waitFor(settled)
      const looked = backlog.look(account.full, settled)
      // The session that gave it back is over for others when those who read it know that it is there.
      const isAwaited = looked !== undefined && envelope.notes.isRetry === true
      if (cluster.isShared && isAwaited) sessions.holdBack(account, looked)
      return stop(new Outcome('stored', BY))
    }

    const wouldStore = (
      nobody: Outcome,
      envelope: Envelope,
    ): Maybe<Explained<'offline_message'>> => {
      const account = envelope.to.toBare()
      const verdict = verdictOn(envelope.stanza)
      if (verdict === 'refuse' || isPassing(account)) return { verdict: nobody }
      if (verdict === 'forget') return { verdict: stop(dropped(BY, 'nothing but chat states')) }
      return after(usage.hasRoom(account.full, sizeOf(envelope)), (hasRoom) =>
        hasRoom
          ? { verdict: stop(new Outcome('stored', BY)), would: `keep it for ${account}` }
          : { verdict: nobody, would: `refuse it: too much is kept for ${account}` },
      )
    }

    hooks.on(
      'offline_message',
      (nobody, { envelope: received }) => {
        const account = received.to.toBare()
        if (received.notes.offline !== undefined) {
          // It comes back from a session that ended, and was never taken out.
          void backlog.look(account.full)
          return stop(new Outcome('stored', BY, 'kept before'))
        }
        const verdict = verdictOn(received.stanza)
        if (verdict === 'refuse' || isPassing(account)) return nobody
        if (verdict === 'forget') return stop(dropped(BY, 'nothing but chat states'))
        // A delay that we ourselves have added comes with the note.
        const envelope =
          received.notes.isRetry === true
            ? received
            : received.with({ stanza: withoutForgedDelays(received.stanza, isHosted) })
        const decide = (hasRoom: boolean): Decided | Promise<Decided> =>
          hasRoom ? write(envelope, account) : tellFailure(envelope).then(() => nobody)
        const hasRoom = usage.reserve(account.full, sizeOf(envelope))
        return hasRoom instanceof Promise ? hasRoom.then(decide) : decide(hasRoom)
      },
      { explain: (nobody, { envelope }) => wouldStore(nobody, envelope) },
    )

    if (cluster.isShared) {
      hooks.on('sm_message_decided', (envelope, { targets }) => backlog.before(envelope, targets), {
        order: 10,
        explain: (envelope) => ({ verdict: envelope }),
      })
    }
    every(RETRY, () => removals.retry())
    if (cluster.isShared) every(LOOK, () => backlog.elsewhere.lookAgain())
    hooks.on('resend_offline_messages', (jid, { session }) => {
      backlog.deliverTo(session)
      return jid
    })
    cluster.on('offline_look', (account) => {
      backlog.lookFor(account)
      return null
    })
    hooks.on('remote_session_left', (resource) => {
      void backlog.look(resource.jid.bare)
      return resource
    })
    hooks.on('node_cleaned', (node) => {
      const failed = (error: unknown) => log.error('offline_messages_not_looked_for', { error })
      void backlog.lookForAll().catch(failed)
      return node
    })
    hooks.on('session_restored', (envelopes, { session }) => {
      const own = envelopes.flatMap((envelope) => {
        const { offline: seq } = envelope.notes
        return seq === undefined ? [] : [{ seq, size: sizeOf(envelope) }]
      })
      backlog.adopt(session, own)
      return envelopes
    })
    hooks.on('stanza_acknowledged', (envelope, { session }) => {
      const { offline: seq } = envelope.notes
      if (seq !== undefined) backlog.acknowledged(seq, session)
      return envelope
    })
    hooks.on('sm_remove_connection', (resource) => {
      if (isLocalSession(resource)) backlog.ended(resource)
      return resource
    })
    // What came from the store is there still, and goes to the next session from there.
    hooks.on('filter_unacknowledged_messages', (envelopes) =>
      envelopes.filter(({ notes }) => notes.offline === undefined),
    )
    hooks.on('export_user_data', (parts, { account }) => [...parts, offlinePart(store, account)])
    hooks.on('import_user_data', async (nobody, { account, portion: { part, items } }) => {
      if (part.name !== OFFLINE_MESSAGES || part.ns !== PIE_NS) return nobody
      const kept = await takeOffline(store, account, items, clock.now())
      usage.forget(account.full)
      void backlog.look(account.full)
      return stop(kept)
    })
    hooks.on('remove_domain', (domain) => {
      usage.forgetDomain(domain)
      return domain
    })
    hooks.on(
      'remove_user',
      async (account) => {
        backlog.forget(account.full)
        await store.removeAll(account)
        return account
      },
      { onError: 'skip' },
    )
    commands.on(countOffline, async ({ jid: account }) => {
      const { count, bytes } = await store.usage(account.full)
      return { messages: count, bytes }
    })
    commands.on(listOffline, async ({ jid: account, limit, after }) => {
      const messages = await store.list(account.full, after, limit)
      return { messages: messages.map(messageResult) }
    })
    commands.on(purgeOffline, async ({ jid: account }) => {
      const removed = await store.removeAll(account)
      // What came meanwhile is counted anew.
      backlog.forget(account.full)
      log.info('offline_messages_purged', { account, removed })
      return { removed }
    })
  },
})
