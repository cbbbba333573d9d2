import { createHash } from 'node:crypto'
import type { NodeRun } from '../core/cluster.ts'
import type { Logger } from '../core/log.ts'
import type { Maybe } from '../core/maybe.ts'
import { isLocalSession, type Session } from '../core/session.ts'
import type { Sessions } from '../core/sessions.ts'
import { type FullJid, parseJid } from '../xmpp/jid.ts'
import { StreamError } from '../xmpp/stream-error.ts'
import type { HandOff } from './hand-off.ts'
import { RemoteResource, type SessionRow } from './remote-resource.ts'
import { type Change, type Clock, type Registry, RegistryConflict } from './transport.ts'

export const SESSION_PREFIX = 'session.'

type Parts = {
  readonly self: () => NodeRun
  readonly registry: Registry
  readonly clock: Clock
  readonly log: Logger
  readonly sessions: Sessions
  readonly handOffTo: (run: NodeRun) => HandOff
  /** Asks the node of a session to end it; resolves when it has. */
  readonly closeRemote: (resource: RemoteResource, error?: StreamError) => Promise<void>
  /** Resolves when what a lost run left is taken care of; `undefined` if it is, or is not lost. */
  readonly remains: (run: NodeRun) => Promise<void> | undefined
  /** Lets new stanzas for the account wait. */
  readonly holdBack: (jid: FullJid, until: Promise<unknown>) => void
  /** A session of another node is not available any more, or gone. */
  readonly onLess: (resource: RemoteResource) => void
  /** The newest revision that this node wrote. */
  readonly wrote: (revision: number) => void
}

/** A session of this node, as the registry has it. */
type Own = {
  readonly session: Session
  readonly key: string
  /** Of its row; 0 if it has none. */
  revision: number
  /** The row as written. */
  text: string
  writing: Promise<void> | undefined
  isDirty: boolean
  isClosed: boolean
}

type Row = { readonly resource: RemoteResource; readonly revision: number }

/** How long to wait before a write is tried again, milliseconds. */
const RETRY = 500

/**
 * The sessions of all nodes: one row of the registry for each. This node writes those of its own, and
 * has those of others at hand in `Sessions`.
 *
 * A row is written on condition that it is still as this node knows it. Whoever opens a session takes
 * the row of its full JID over; who finds its row taken over ends its session.
 */
export class SessionTable {
  readonly #parts: Parts
  readonly #own = new Map<Session, Own>()
  readonly #ownByKey = new Map<string, Own>()
  readonly #rows = new Map<string, Row>()
  /** Revisions of rows that are about to be taken over. */
  readonly #latest = new Map<string, number>()
  /** Rows that could not be removed, with their revisions. */
  readonly #stray = new Map<string, number>()

  constructor(parts: Parts) {
    this.#parts = parts
  }

  // --- Sessions of this node.

  /** Resolves when the row is written, or cannot be for now. */
  opened(session: Session): Maybe<void> {
    const key = keyOf(session.jid)
    const own: Own = {
      session,
      key,
      revision: 0,
      text: '',
      writing: undefined,
      isDirty: true,
      isClosed: false,
    }
    this.#own.set(session, own)
    this.#ownByKey.set(key, own)
    return this.#write(own)
  }

  changed(session: Session): void {
    const own = this.#own.get(session)
    if (own === undefined || own.isDirty || own.isClosed) return
    own.isDirty = true
    // What else changes in this turn goes along.
    queueMicrotask(() => void this.#write(own))
  }

  /** Resolves when the row is gone, or another's. */
  async closed(session: Session): Promise<void> {
    const own = this.#own.get(session)
    if (own === undefined) return
    own.isClosed = true
    await own.writing
    await this.#remove(own)
    this.#forget(own)
  }

  /** It goes on at another node, which takes the row over. */
  released(session: Session): void {
    const own = this.#own.get(session)
    if (own === undefined) return
    own.isClosed = true
    this.#forget(own)
  }

  get own(): number {
    return this.#own.size
  }

  /** Everything that was not written, or may be gone, once the registry is back. */
  rewrite(): void {
    for (const own of this.#own.values()) {
      own.isDirty = true
      void this.#write(own)
    }
  }

  #forget(own: Own): void {
    this.#own.delete(own.session)
    if (this.#ownByKey.get(own.key) === own) this.#ownByKey.delete(own.key)
  }

  #write(own: Own): Promise<void> | undefined {
    if (own.writing !== undefined) return own.writing
    if (!own.isDirty || own.isClosed) return undefined
    // What is out of reach is told later.
    if (!this.#parts.registry.isConnected) return undefined
    const writing = this.#writeAll(own).finally(() => {
      own.writing = undefined
    })
    own.writing = writing
    return writing
  }

  async #writeAll(own: Own): Promise<void> {
    const { registry, clock, log, wrote } = this.#parts
    while (own.isDirty && !own.isClosed) {
      own.isDirty = false
      const text = JSON.stringify(this.#rowOf(own.session))
      if (text === own.text && own.revision > 0) continue
      try {
        own.revision = await registry.put(own.key, text, this.#expected(own))
        own.text = text
        this.#latest.delete(own.key)
        wrote(own.revision)
      } catch (error) {
        own.isDirty = true
        if (error instanceof RegistryConflict) {
          if (await this.#isLost(own)) return this.#lose(own)
          continue
        }
        if (registry.isConnected) log.warn('session_row_not_written', { error })
        clock.after(RETRY, () => void this.#write(own))
        return
      }
    }
  }

  /** The revision that the row has as far as is known here. */
  #expected(own: Own): number {
    if (own.revision > 0) return own.revision
    return this.#latest.get(own.key) ?? this.#rows.get(own.key)?.revision ?? 0
  }

  /** Somebody else has written the row. One that was never written takes it over. */
  async #isLost(own: Own): Promise<boolean> {
    const current = await this.#parts.registry.get(own.key)
    this.#latest.delete(own.key)
    const row = current?.value === undefined ? undefined : (JSON.parse(current.value) as SessionRow)
    if (current !== undefined && row !== undefined) {
      const isOurs = row.id === own.session.id && row.node === this.#parts.self().node
      if (own.revision > 0 && !isOurs && current.revision > own.revision) return true
      this.#latest.set(own.key, current.revision)
    }
    own.revision = 0
    return false
  }

  #lose(own: Own): void {
    own.isClosed = true
    this.#forget(own)
    void own.session.close(new StreamError('conflict', 'Replaced by new connection'))
  }

  async #remove(own: Own): Promise<void> {
    const { registry, log, wrote } = this.#parts
    if (own.revision === 0) return
    try {
      wrote(await registry.remove(own.key, own.revision))
    } catch (error) {
      if (error instanceof RegistryConflict) return
      // Nobody has the session any more; whoever hands something to it hears so.
      log.warn('session_row_not_removed', { error })
      this.#stray.set(own.key, own.revision)
    }
  }

  /** Rows of sessions that ended while the registry was out of reach. */
  async removeStray(): Promise<void> {
    for (const [key, revision] of this.#stray) {
      this.#stray.delete(key)
      try {
        await this.#parts.registry.remove(key, revision)
      } catch (error) {
        if (error instanceof RegistryConflict) continue
        this.#stray.set(key, revision)
        return
      }
    }
  }

  #rowOf({ jid, id, priority, shared, info }: Session): SessionRow {
    const { node, epoch } = this.#parts.self()
    return {
      jid: jid.full,
      id,
      node,
      epoch,
      ...(priority !== undefined && { priority }),
      shared,
      info,
    }
  }

  // --- Sessions of others.

  onChange({ key, value, revision }: Change): void {
    const row = value === undefined ? undefined : (JSON.parse(value) as SessionRow)
    const own = this.#ownByKey.get(key)
    if (row === undefined || row.node === this.#parts.self().node) {
      if (row?.epoch === this.#parts.self().epoch || row === undefined) this.#dropRow(key)
      else this.#setRow(key, row, revision)
      // Somebody has removed what is there still.
      if (own !== undefined && row === undefined && own.revision > 0 && revision > own.revision) {
        own.revision = 0
        own.text = ''
        this.changed(own.session)
      }
      return
    }
    if (own !== undefined && own.revision > 0 && revision > own.revision) this.#lose(own)
    if (this.#ownByKey.has(key)) {
      // Ours is newer, and about to be written.
      this.#latest.set(key, revision)
      return
    }
    this.#setRow(key, row, revision)
  }

  #setRow(key: string, row: SessionRow, revision: number): void {
    const { sessions, handOffTo, closeRemote, onLess } = this.#parts
    const known = this.#rows.get(key)?.resource
    if (known?.id === row.id && known.owner.node === row.node && known.owner.epoch === row.epoch) {
      const wasAvailable = (known.priority ?? -1) >= 0
      known.update(row)
      this.#rows.set(key, { resource: known, revision })
      if (wasAvailable && (known.priority ?? -1) < 0) onLess(known)
      return
    }
    const address = parseJid(row.jid)
    const jid = address.toBare().withResource(address.resource)
    const run = { node: row.node, epoch: row.epoch }
    const resource = new RemoteResource(jid, row, handOffTo(run), closeRemote)
    if (known !== undefined) this.#holdBack(known)
    this.#rows.set(key, { resource, revision })
    const displaced = sessions.add(resource)
    if (displaced !== undefined && isLocalSession(displaced)) {
      void displaced.close(new StreamError('conflict', 'Replaced by new connection'))
    }
  }

  #dropRow(key: string): void {
    const row = this.#rows.get(key)
    if (row === undefined) return
    this.#rows.delete(key)
    this.#holdBack(row.resource)
    if (this.#parts.sessions.remove(row.resource)) this.#parts.onLess(row.resource)
  }

  /** What is newer waits for what a lost node has left, and for what the session's node was handed. */
  #holdBack(resource: RemoteResource): void {
    const { holdBack, remains } = this.#parts
    const until = remains(resource.owner) ?? resource.undecided
    if (until !== undefined) holdBack(resource.jid, until)
  }

  /** Rows of a run, for whoever takes care of what it left. */
  of({ node, epoch }: NodeRun): { readonly key: string; readonly row: Row }[] {
    const all: { readonly key: string; readonly row: Row }[] = []
    for (const [key, row] of this.#rows) {
      const { owner } = row.resource
      if (owner.node === node && owner.epoch <= epoch) all.push({ key, row })
    }
    return all
  }

  /** Removes the row of a session that a lost run had. False: it is another's by now. */
  async removeLost(key: string, revision: number): Promise<boolean> {
    try {
      this.#parts.wrote(await this.#parts.registry.remove(key, revision))
      return true
    } catch (error) {
      if (error instanceof RegistryConflict) return false
      throw error
    }
  }
}

/** JIDs may have characters, and lengths, that keys may not. */
export function keyOf(jid: FullJid): string {
  const digest = createHash('sha256').update(jid.full).digest('base64url')
  return SESSION_PREFIX + digest.slice(0, 27)
}
