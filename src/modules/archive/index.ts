import { z } from 'zod'
import { Coherence } from '../../core/coherence.ts'
import { CommandError } from '../../core/command.ts'
import { duration, size } from '../../core/config-types.ts'
import type { Envelope } from '../../core/envelope.ts'
import { stop } from '../../core/hooks.ts'
import type { IqRequest } from '../../core/iq.ts'
import { after } from '../../core/maybe.ts'
import { defineModule } from '../../core/module.ts'
import { PIE_ARCHIVE_NS, partFrom, taken } from '../../core/user-data.ts'
import type { BareJid, Jid } from '../../xmpp/jid.ts'
import { StanzaError } from '../../xmpp/stanza-error.ts'
import {
  archiveCommands,
  countArchive,
  messageResult,
  purgeArchive,
  searchArchive,
  selectionOf,
} from './admin-commands.ts'
import { Archive } from './archive.ts'
import { RETRACT_NS } from './eligibility.ts'
import { boundAt } from './ids.ts'
import { indexMigration } from './index-behind.ts'
import { preferencesMigration } from './preference-store.ts'
import {
  DEFAULT_MODES,
  lenientPreferences,
  preferencesElement,
  readPreferences,
} from './preferences.ts'
import { FULL_TEXT_NS, MAM_NS, queryForm, readQuery } from './query.ts'
import { ArchiveReader } from './reader.ts'
import { SID_NS, withoutIdsBy } from './stanza-ids.ts'
import { archiveMigration, removeArchivesOf } from './store.ts'
import { ArchiveImport, archivePart } from './user-data.ts'

/** Of messages shown to an administrator at once, in bytes. */
const MAX_SHOWN = 4 * 1024 * 1024
const RETENTION_INTERVAL_MS = 10 * 60_000
/** How often each archive is looked through for what is too old. */
const THOROUGH_INTERVAL_MS = 24 * 60 * 60_000

const FEATURES = [
  MAM_NS,
  `${MAM_NS}#extended`,
  `${MAM_NS}#groupchat-field`,
  SID_NS,
  RETRACT_NS,
  `${RETRACT_NS}#tombstone`,
]

/** How long the nodes of a cluster may take to write what they have given an id, milliseconds. */
const SETTLES_IN = 200

/**
 * Keeps the messages of each account, sent and received, for all its devices (XEP-0313). A message is
 * on the disk before its sender is told that it arrived; nobody waits for that to see it.
 */
export const archive = defineModule({
  name: 'archive',
  implements: [
    'XEP-0313 1.1.3',
    'XEP-0059 1.0',
    'XEP-0334 1.0.0',
    'XEP-0359 0.7.0',
    'XEP-0424 0.4.2',
    'XEP-0431 0.2.0',
    'XEP-0441 0.2.0',
  ],
  features: FEATURES,
  accountFeatures: FEATURES,
  config: z.strictObject({
    default: z
      .enum(DEFAULT_MODES)
      .default('always')
      .describe('What is archived for accounts that have not said: always, never or roster.'),
    retention: duration({ min: '1h' })
      .optional()
      .describe('Older messages are removed; without it they stay for good.'),
    page_size: z
      .int()
      .min(1)
      .default(50)
      .describe('Messages of a page, where the client is silent.'),
    max_page_size: z.int().min(1).max(1000).default(100).describe('Messages of a page at most.'),
    groupchat: z
      .boolean()
      .default(false)
      .describe(
        'Archive messages of rooms for each participant, too; rooms have archives of their own.',
      ),
    markers: z.boolean().default(true).describe('Archive who has read how far (XEP-0333), too.'),
    replaces_offline: z
      .boolean()
      .default(true)
      .describe(
        'Whether a client that has read messages here, before it became available, is not sent them once more when it gets what was kept for it offline.',
      ),
    fulltext: z
      .boolean()
      .default(false)
      .describe(
        'Let clients search for words. The index costs time for each message. Nodes of a cluster share one: each keeps it up to date while it is there, whatever it is told here itself.',
      ),
    max_listed: z
      .int()
      .min(0)
      .default(1000)
      .describe('Addresses in the preferences of one account.'),
    max_pending: size({ min: '1MiB' })
      .prefault('64MiB')
      .describe(
        'What may wait in memory for the disk. From half of it on, senders are slowed down; over it, while the disk takes nothing, they are not told that their messages arrived.',
      ),
  }),
  migrations: [archiveMigration, preferencesMigration, indexMigration],
  data: [removeArchivesOf, { table: 'archive_preferences', owner: 'owner' }],

  commands: archiveCommands,

  async start(context) {
    const { commands, config, hooks, iq, sessions, clock, log, serves, configFor } = context
    const coherence = new Coherence(context.cluster, 'archive')
    const shared = context.lasting(
      () => new Archive(context, (domain?: string) => configFor(domain) ?? config, coherence),
      (archive) => archive.close(),
    )
    coherence.keep(shared.preferences)
    const { store, preferences, recorder } = shared
    const written = () => shared.written()
    await shared.opened
    if (config.fulltext) await shared.index.want(config)
    const reader = new ArchiveReader(store, {
      pageSize: Math.min(config.page_size, config.max_page_size),
      maxPageSize: config.max_page_size,
      replacesOffline: config.replaces_offline,
      settlesIn: context.cluster.isShared ? SETTLES_IN : 0,
      now: () => clock.now(),
    })

    // At hand before the first message comes, so that it waits for nothing.
    hooks.on(
      'sm_register_connection',
      (resource) => after(preferences.get(resource.jid.bare), () => resource),
      { onError: 'skip' },
    )
    // Nobody but this account's archive says what id it has there (XEP-0359 §5).
    // Whoever sends more than the disk writes waits for it: here, and others with their recipient.
    hooks.on(
      'user_send_message',
      (envelope) => {
        const { room } = shared
        if (room === undefined) return withoutForged(envelope, envelope.from)
        return room.then(() => withoutForged(envelope, envelope.from))
      },
      { order: 1, explain: 'pure' },
    )
    hooks.on(
      'filter_local_packet',
      (envelope) =>
        envelope.stanza.kind !== 'message' || envelope.notes.archived !== undefined
          ? envelope
          : withoutForged(envelope, envelope.to),
      { order: 60, explain: 'pure' },
    )
    // A message that cannot be archived is delivered all the same.
    hooks.on(
      'sm_message_decided',
      (envelope, { targets }) => recorder.received(envelope, targets),
      {
        order: 60,
        onError: 'skip',
        explain: (envelope, { targets }) =>
          after(recorder.wouldReceive(envelope, targets), (isKept) =>
            wouldArchive(envelope, isKept && envelope.to),
          ),
      },
    )
    hooks.on('sent_message_copied', (envelope) => recorder.asSent(envelope), { onError: 'skip' })
    hooks.on(
      'message_routed',
      (outcome, { envelope }) => {
        if (serves(envelope.from.domain)) recorder.settled(envelope, outcome)
        return outcome
      },
      {
        order: 50,
        onError: 'skip',
        explain: (outcome, { envelope }) => {
          const isOurs = serves(envelope.from.domain) && outcome.fate !== 'bounced'
          const isKept = isOurs && recorder.wouldSend(envelope, outcome)
          return after(isKept, (kept) => wouldArchive(outcome, kept && envelope.from))
        },
      },
    )

    iq.on('account', 'set', MAM_NS, 'query', async (request) => {
      const owner = ownerOf(request)
      const query = readQuery(request.payload, config.fulltext)
      const resource = sessions.sessions.get(request.from)
      if (resource === undefined) throw new StanzaError('service-unavailable')
      await written()
      return await reader.answer(owner, query, resource)
    })
    iq.on('account', 'get', MAM_NS, 'query', (request) => {
      ownerOf(request)
      return queryForm(config.fulltext)
    })
    iq.on('account', 'get', MAM_NS, 'metadata', async (request) => {
      const owner = ownerOf(request)
      await written()
      return await reader.metadata(owner)
    })
    iq.on('account', 'get', MAM_NS, 'prefs', async (request) => {
      const owner = ownerOf(request)
      return preferencesElement(MAM_NS, await preferences.get(owner.bare))
    })
    iq.on('account', 'set', MAM_NS, 'prefs', async (request) => {
      const owner = ownerOf(request)
      const wanted = readPreferences(request.payload, config.max_listed)
      await preferences.set(owner, wanted)
      return preferencesElement(MAM_NS, wanted)
    })

    const extra = [
      ...(config.fulltext ? [FULL_TEXT_NS] : []),
      ...(config.groupchat ? [`${MAM_NS}#groupchat-available`] : []),
    ]
    hooks.on('disco_local_features', (all, { node }) => (node === '' ? [...all, ...extra] : all))
    hooks.on('disco_sm_features', (all, { node }) => (node === '' ? [...all, ...extra] : all))

    const purge = async (
      before: number,
      owner?: BareJid,
      onRemoved?: (count: number) => void,
    ): Promise<number> => {
      await written()
      const bound = boundAt(before)
      if (owner !== undefined) return await store.removeOf(owner, bound, onRemoved)
      return await store.removeOlder(bound, onRemoved)
    }
    commands.on(searchArchive, async (args) => {
      if (args.text !== undefined && store.fullText === undefined) {
        throw new CommandError('unavailable', 'words are searched where `fulltext` is set')
      }
      await written()
      const window = { from: 'oldest', limit: args.limit, maxBytes: MAX_SHOWN } as const
      const messages = await store.window(selectionOf(args), window)
      return { messages: messages.map(messageResult) }
    })
    commands.on(countArchive, async (args) => {
      await written()
      return { messages: await store.count(selectionOf(args), Number.MAX_SAFE_INTEGER) }
    })
    commands.on(purgeArchive, async ({ older_than, jid: owner }, { progress }) => {
      const onRemoved = (done: number) => progress({ done, of: 'messages' })
      const removed = await purge(clock.now() - older_than, owner, onRemoved)
      log.info('archive_purged', { owner, removed })
      return { removed }
    })
    let lookedThroughAt = Number.NEGATIVE_INFINITY
    /** Of those domains whose settings say so. */
    const expire = async (before: number): Promise<number> => {
      if (context.routes.hosted.every(serves)) {
        if (clock.now() - lookedThroughAt < THOROUGH_INTERVAL_MS) {
          await written()
          return await store.removeOldest(boundAt(before))
        }
        const removed = await purge(before)
        lookedThroughAt = clock.now()
        return removed
      }
      let removed = 0
      for await (const owner of store.owners()) {
        if (serves(owner.domain)) removed += await purge(before, owner)
      }
      return removed
    }
    const { retention } = config
    if (retention !== undefined) {
      context.every(RETENTION_INTERVAL_MS, async () => {
        const removed = await expire(clock.now() - retention)
        if (removed > 0) log.info('archive_expired', { removed })
      })
    }
    hooks.on('export_user_data', async (parts, { account }) => {
      await written()
      const own = partFrom(async () => {
        const set = await preferences.own(account)
        return set === undefined ? [] : [preferencesElement(MAM_NS, set)]
      })
      return [...parts, own, archivePart(store, account)]
    })
    const imports = new ArchiveImport(store)
    hooks.on('import_user_data', async (nobody, { account, portion }) => {
      const { name, ns } = portion.part
      if (name === 'archive' && ns === PIE_ARCHIVE_NS) {
        return stop(await imports.take(account, portion, clock.now()))
      }
      if (name !== 'prefs' || ns !== MAM_NS) return nobody
      if ((await preferences.own(account)) !== undefined) return stop(taken({ there: 1 }))
      const { preferences: wanted, problems } = lenientPreferences(portion.part)
      await preferences.set(account, wanted)
      return stop(taken({ added: 1, problems: problems.map((text) => `<prefs/>: ${text}`) }))
    })
    hooks.on('remove_domain', (domain) => {
      preferences.forgetAll()
      return domain
    })
    hooks.on(
      'remove_user',
      async (account) => {
        await shared.remove(account)
        return account
      },
      { onError: 'skip' },
    )

    const look = () => shared.index.look()
    context.cluster.on('archive_indexed', () => look().then(() => null))
    hooks.on('node_joined', (node) => look().then(() => node), { onError: 'skip' })
    context.onReady(async () => {
      preferences.forgetAll()
      await shared.index.follow()
    })
    context.onStop(() => shared.index.unwant(config, configFor() !== undefined))
  },
})

function wouldArchive<T>(verdict: T, owner: Jid | false) {
  return owner === false ? { verdict } : { verdict, would: `archive it for ${owner.bare}` }
}

function withoutForged(envelope: Envelope, owner: Jid): Envelope {
  const stanza = withoutIdsBy(envelope.stanza, owner)
  return stanza === envelope.stanza ? envelope : envelope.with({ stanza })
}

/** An archive is its account's alone. */
function ownerOf({ from, to }: IqRequest): BareJid {
  if (!from.bareEquals(to)) throw new StanzaError('forbidden')
  return to.toBare()
}
