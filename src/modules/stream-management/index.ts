import { randomBytes } from 'node:crypto'
import { z } from 'zod'
import { duration, size } from '../../core/config-types.ts'
import type { Envelope } from '../../core/envelope.ts'
import { stop } from '../../core/hooks.ts'
import { defineModule, type ModuleContext } from '../../core/module.ts'
import { isStreamSession, type Resource, type Session } from '../../core/session.ts'
import { within } from '../../core/within.ts'
import { isChatStateOnly } from '../../xmpp/chat-states.ts'
import { isCopy } from '../../xmpp/forward.ts'
import type { BareJid } from '../../xmpp/jid.ts'
import { StreamError } from '../../xmpp/stream-error.ts'
import { enabled, failed, readMaximum, SM_NS } from '../../xmpp/stream-management.ts'
import { type Element, el } from '../../xmpp/xml.ts'
import { isTrue } from '../../xmpp/xml-schema.ts'
import { Eventually } from './eventually.ts'
import { KeptMessages } from './kept-messages.ts'
import { ManagedStream } from './managed-stream.ts'
import { Relocation } from './relocation.ts'
import { Rerouting } from './rerouting.ts'
import { Restoration } from './restoration.ts'
import { countOf, resume } from './resumption.ts'
import { migrations, removeSnapshots, Snapshots } from './snapshots.ts'
import { Streams } from './streams.ts'

const HINTS_NS = 'urn:xmpp:hints'

const FEATURE = el('sm', { xmlns: SM_NS })
/** How often streams are looked over, milliseconds. */
const LOOK = 1_000
/** How long a disk that takes nothing can hold up the end of the server, milliseconds. */
const PATIENCE = 5_000
/** How long other nodes can, by not answering for what they were handed, milliseconds. */
const HAND_OVER = 2_000

const settings = z.strictObject({
  resume_timeout: duration({ min: '1s' })
    .prefault('10m')
    .describe('How long a session waits for a client that lost its connection.'),
  max_unacknowledged: z
    .int()
    .min(10)
    .default(1_000)
    .describe('Stanzas sent to a client before it must have acknowledged some; further ones wait.'),
  max_unacknowledged_bytes: size({ min: '64KiB' })
    .prefault('1MiB')
    .describe('What those may come to.'),
  ack_timeout: duration({ min: '5s' })
    .prefault('1m')
    .describe('A client that has not answered for so long is taken for lost.'),
  durable: z
    .boolean()
    .default(true)
    .describe(
      'Whether a message is written to the disk before its sender is told that it is handled, when its recipient has not acknowledged it at once.',
    ),
  location: z
    .string()
    .min(1)
    .optional()
    .describe('Where clients should reconnect: "host:port", "[::1]:5222".'),
})

/**
 * Acknowledgements, and sessions that outlive their connections (XEP-0198).
 *
 * - A stanza counts as handled when its fate is settled: the writes that it waits for are done. A
 *   message that a client has in its hands and nothing else keeps is written, unless the client
 *   acknowledges it at once (`KeptMessages`); so killing the server loses nothing acknowledged.
 * - What a client has not acknowledged belongs to its session. Without a connection the session goes
 *   on: presence and priority stay, and what comes for it waits behind. When it is not resumed in
 *   time, or is replaced, all of that goes back to the route, in order.
 * - Sessions without a connection are kept on the disk, too, and are there again when the server
 *   starts, before it listens: nobody sees them go, and what comes for them waits in its place. One
 *   that had a connection when the server was killed cannot be resumed, for the count of what it had
 *   sent is lost; what it had not acknowledged is routed anew at the start.
 */
export const streamManagement = defineModule({
  name: 'stream_management',
  implements: ['XEP-0198 1.6.3'],
  config: settings,
  migrations,
  data: [{ table: 'sm_kept', owner: 'account' }, removeSnapshots],

  start: (context) => manage(context, { isOffered: true }),
  retire: (context) => manage(context, { isOffered: false }),
})

/** Streams that are managed stay so until they end, whether new ones are offered it or not. */
function manage(
  context: ModuleContext<z.output<typeof settings>>,
  { isOffered }: { readonly isOffered: boolean },
): void {
  const { config, hooks, router, sessions, storage, cluster } = context
  const { clock, places, log, every, serves } = context
  const self = () => cluster.self
  // A stream keeps the settings that it began with; its client was told of them.
  const state = context.lasting(
    () => {
      const eventually = new Eventually(log)
      const kept = new KeptMessages({ storage, self, eventually, places, clock, log })
      return {
        streams: new Streams(),
        eventually,
        kept,
        rerouting: new Rerouting(kept, router),
        snapshots: new Snapshots(storage, self),
      }
    },
    async ({ kept, eventually }) => {
      await kept.stop()
      await eventually.stop()
    },
  )
  const { streams, eventually, kept, rerouting, snapshots } = state
  const limits = {
    maxStanzas: config.max_unacknowledged,
    maxBytes: config.max_unacknowledged_bytes,
    ackTimeout: config.ack_timeout,
  }
  const parts = (domainType: string) => ({
    limits,
    snapshots,
    kept,
    clock,
    log,
    unacknowledgedMessage: hooks.at('unacknowledged_message', domainType),
  })

  // --- The client's commands.

  const enable = (session: Session, element: Element) => {
    if (!isStreamSession(session)) return session.write(failed('unexpected-request'))
    // XEP-0198 §3.
    if (streams.of(session) !== undefined) {
      throw new StreamError('policy-violation', 'Stream management is enabled already')
    }
    if (!isOffered) return session.write(failed('feature-not-implemented'))
    const wanted = readMaximum(element.attr('max')) ?? Number.POSITIVE_INFINITY
    const patience = Math.min(wanted * 1000, config.resume_timeout)
    const isResumable = isTrue(element.attr('resume')) && patience > 0
    const id = isResumable ? randomBytes(18).toString('base64url') : undefined
    streams.add(new ManagedStream(session, { id, patience }, parts(session.domainType)))
    if (id !== undefined && cluster.isShared) session.share({ stream: id })
    session.write(enabled({ id, max: Math.ceil(patience / 1000), location: config.location }))
  }

  const obey = (element: Element, session: Session): void => {
    const stream = streams.of(session)
    if (element.name === 'enable') return enable(session, element)
    if (stream === undefined || (element.name !== 'r' && element.name !== 'a')) {
      return session.write(failed('unexpected-request'))
    }
    if (element.name === 'r') stream.answerRequest()
    else stream.acknowledge(countOf(element))
  }

  /** Whoever may still resume has to be told how. */
  const mayResume = (account: BareJid) =>
    sessions.sessions.of(account.full).some((one) => one.shared.stream !== undefined || hasId(one))
  const hasId = (one: Resource) => isStreamSession(one) && streams.of(one)?.id !== undefined
  hooks.on('c2s_stream_features', (features, { account }) =>
    account !== undefined && (isOffered || mayResume(account)) ? [...features, FEATURE] : features,
  )
  hooks.on(
    'user_send_xmlel',
    (element, { session }) => {
      if (element.ns !== SM_NS) return element
      obey(element, session)
      return stop(element)
    },
    { order: 20 },
  )
  hooks.on('c2s_unauthenticated_element', (element, { stream }) => {
    if (element.ns !== SM_NS) return element
    stream.write(failed('unexpected-request'))
    return stop(element)
  })
  hooks.on('c2s_authenticated_element', (element, { stream }) => {
    if (element.ns !== SM_NS) return element
    if (element.name === 'resume') {
      return relocation
        .fetch(element.attr('previd'), stream.account.full)
        .then(() => resume(streams, stream, element))
        .then(() => stop(element))
    }
    stream.write(failed('unexpected-request'))
    return stop(element)
  })

  // --- What a client gets.

  const isManaged = (target: Resource) =>
    isStreamSession(target) && (target.isOpening || streams.of(target) !== undefined)

  const keep = (envelope: Envelope, targets: readonly Resource[]) =>
    config.durable && isToBeKept(envelope) && targets.some(isManaged)
      ? kept.keep(envelope)
      : envelope

  hooks.on(
    'xmpp_presend_element',
    (envelope, { session }) => {
      const isKept = streams.of(session)?.sent(envelope) === true
      return isKept ? stop(envelope) : envelope
    },
    {
      explain: (envelope, { session }) => {
        if (streams.of(session) === undefined) return { verdict: envelope }
        const isConnected = isStreamSession(session) && session.isConnected
        return isConnected
          ? { verdict: envelope, would: 'keep it until the client has acknowledged it' }
          : { verdict: stop(envelope), would: 'keep it until the client comes back' }
      },
    },
  )
  const behind = async (earlier: Promise<unknown>, envelope: Envelope) => {
    await earlier
    return envelope
  }
  hooks.on(
    'sm_message_decided',
    (envelope, { targets }) => {
      if (targets.length === 0 && envelope.stanza.kind === 'message') {
        const { isRetry } = envelope.notes
        const waiting = isRetry === true ? undefined : rerouting.before(envelope.to.bare)
        return waiting === undefined ? envelope : behind(waiting, envelope)
      }
      return keep(envelope, targets)
    },
    // Behind the archive, which may keep it.
    {
      order: 90,
      explain: (envelope, { targets }) => {
        // The targets only stand for sessions.
        const isSent = targets.some(({ jid }) => {
          const session = sessions.sessions.get(jid)
          return session !== undefined && isManaged(session)
        })
        const isKept = config.durable && isSent && isToBeKept(envelope)
        return { verdict: envelope, ...(isKept && { would: 'keep it until it has arrived' }) }
      },
    },
  )
  hooks.on('sm_message_taken', (envelope, { targets }) => keep(envelope, targets), {
    explain: (envelope) => ({ verdict: envelope }),
  })
  hooks.on(
    'resend_offline_messages',
    (jid, { session }) => {
      rerouting.deliverTo(session)
      return jid
    },
    // Behind what waits in the store.
    { order: 60 },
  )
  hooks.on(
    'sm_message_kept',
    (outcome, { envelope }) => {
      if (envelope.notes.kept !== undefined) kept.handOver(envelope, envelope.notes.kept)
      return outcome
    },
    // What was kept before is not explained.
    { explain: (outcome) => ({ verdict: outcome }) },
  )
  hooks.on('message_kept_elsewhere', (envelope) => {
    if (envelope.notes.kept !== undefined) kept.release(envelope.notes.kept)
    return envelope
  })
  hooks.on('stanza_acknowledged', (envelope) => {
    if (envelope.notes.kept !== undefined) kept.release(envelope.notes.kept)
    return envelope
  })

  // --- Sessions without a connection.

  for (const hook of ['user_socket_closed', 'user_socket_error'] as const) {
    hooks.on(
      hook,
      (reason, { session }) => (streams.of(session)?.detach() ? stop(reason) : reason),
      { order: 100 },
    )
  }
  hooks.on(
    'user_stop_request',
    (reason, { session }) => {
      // An anonymous account is gone with the server.
      const mayComeBack = reason === 'lost' || (reason === 'shutdown' && !session.info.isAnonymous)
      return mayComeBack && streams.of(session)?.detach() ? stop(reason) : reason
    },
    { order: 100 },
  )
  hooks.on(
    'reroute_unacked_messages',
    (envelopes, { session }) => {
      const stream = streams.of(session)
      if (stream === undefined) return envelopes
      streams.remove(stream)
      if (stream.id !== undefined && stream.isOnDisk) forget(stream.id)
      return [...stream.giveBack().filter(isForOthers), ...envelopes]
    },
    { order: 80 },
  )
  hooks.on(
    'remove_user',
    (account) => {
      kept.releaseAll(account.full)
      return account
    },
    { onError: 'skip' },
  )
  every(LOOK, () => {
    const now = clock.now()
    for (const stream of streams.values()) {
      if (serves(stream.session.jid.domain)) stream.look(now)
    }
    eventually.retry()
    kept.retry()
    rerouting.retry()
  })

  const forget = (id: string) => {
    eventually.do(() => snapshots.forget(id))
  }

  // --- The server stops and starts.

  context.onLeave(async ({ isShutdown, leaves }) => {
    const all = [...streams.values()].filter(({ session }) => leaves(session.jid.domain))
    if (!isShutdown) {
      // Nobody would answer their clients, which come back without it.
      const reset = new StreamError('reset', 'Stream management was switched off')
      await Promise.all(all.map(({ session }) => session.end('lost', reset)))
      return
    }
    const shutdown = new StreamError('system-shutdown')
    await within(PATIENCE, Promise.all(all.map(({ session }) => session.close(shutdown))))
    await Promise.all(all.map((stream) => stream.leave(PATIENCE)))
    const suspended = all.map(({ session, repeats }) => session.suspend(undefined, repeats.waiting))
    await within(PATIENCE, Promise.all(suspended))
    await within(HAND_OVER, cluster.handedOver())
  })

  const restoration = new Restoration({
    context,
    streams,
    snapshots,
    kept,
    partsOf: parts,
    forget,
  })
  hooks.on('nodes_with_remains', async (runs) => [
    ...runs,
    ...(await kept.runs()),
    ...(await snapshots.runs()),
  ])
  hooks.on('node_remains', async (remains) => {
    await restoration.takeOver(remains)
    return remains
  })

  // --- Sessions go on at another node.

  const relocation = new Relocation({ streams, restoration, sessions, cluster, log })
  cluster.on('stream_release', ({ id, account, epoch }, node) =>
    relocation.release(id, account, { node, epoch }),
  )
  hooks.on('remote_session_left', (resource) => {
    relocation.left(resource)
    return resource
  })
}

/**
 * A message that somebody would miss, and that no queue of theirs keeps. Being archived is not
 * enough: a client that does not ask the archive would never be shown it.
 */
function isToBeKept({ settlement, stanza, notes }: Envelope): boolean {
  if (settlement === undefined || notes.offline !== undefined || notes.kept !== undefined) {
    return false
  }
  const { type } = stanza
  if (type === 'error' || type === 'headline' || type === 'groupchat') return false
  return !stanza.has('no-store', HINTS_NS) && !isChatStateOnly(stanza)
}

/**
 * Whether a stanza that its client has not got is of use to another resource, or its fate to its
 * sender: not presence, not the answers and copies that only this client has asked for.
 */
function isForOthers({ stanza, origin }: Envelope): boolean {
  if (stanza.kind === 'message') return !isCopy(stanza)
  return stanza.kind === 'iq' && stanza.isRequest && origin.kind !== 'server'
}
