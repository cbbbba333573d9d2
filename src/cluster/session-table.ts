import { hash } from 'node:crypto'
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
  /** Whether a run is lost, and nothing that it left is to be taken care of any more. */
  readonly isCleaned: (run: NodeRun) => boolean
  /** Whether this node takes care of what that one has left. */
  readonly isCleaner: (node: string) => boolean
  /** Lets new stanzas for the account wait. */
  readonly holdBack: (jid: FullJid, until: Promise<unknown>) => void
  /** Others learn of a change of this node's session only now: they acted without knowing. */
  readonly onSeenLate: (session: Session) => void
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
  /** That of the row which was found in its place; 0: there is none. */
  found: number | undefined
  /** The row as written. */
  text: string
  writing: Promise<void> | undefined
  isDirty: boolean
  /** The others could not be told when it changed. */
  isLate: boolean
  isClosed: boolean
}

/** `revision`: 0 if the registry has lost it. */
type Row = { readonly resource: RemoteResource; readonly revision: number }

/** How long to wait before a write is tried again, milliseconds. */
const RETRY = 500
/** How long a node has to write again what the registry has lost of its sessions, milliseconds. */
const REWRITE = 2_000

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
  /** Rows that are about to be taken over, as they were last. */
  readonly #latest = new Map<string, Change>()
  /** Rows of no session: with their revisions, and the nodes that wrote them. */
  readonly #stray = new Map<string, { readonly revision: number; readonly node: string }>()
  /** Rows of others that the registry has lost, and since when. */
  readonly #lost = new Map<string, number>()

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
      found: undefined,
      text: '',
      writing: undefined,
      isDirty: true,
      isLate: false,
      isClosed: false,
    }
    this.#own.set(session, own)
    this.#ownByKey.set(key, own)
    return this.#write(own)
  }

  changed(session: Session): void {
    const own = this.#own.get(session)
    if (own === undefined || own.isDirty || own.isClosed) return
    // What ends is removed soon. Until then others hand over what comes for it, so that nothing is overtaken.
    if (session.isClosed) return
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
    const { key, session } = own
    this.#own.delete(session)
    if (this.#ownByKey.get(key) !== own) return
    this.#ownByKey.delete(key)
    // What it stood before is seen again.
    const latest = this.#latest.get(key)
    this.#latest.delete(key)
    if (latest !== undefined) return this.onChange(latest)
    const row = this.#rows.get(key)
    const { sessions } = this.#parts
    if (row !== undefined && sessions.get(session.jid) === undefined) sessions.add(row.resource)
  }

  #write(own: Own): Promise<void> | undefined {
    if (own.writing !== undefined) return own.writing
    if (!own.isDirty || own.isClosed) return undefined
    // What is out of reach is told later.
    if (!this.#parts.registry.isConnected) {
      own.isLate = true
      return undefined
    }
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
        const revision = await this.#put(own, text)
        if (revision === undefined) {
          own.isDirty = true
          if (await this.#isLost(own)) return this.#lose(own)
          continue
        }
        wrote(revision)
        // The registry has lost it, and another node has written again what it knew.
        if (revision < own.revision) own.isDirty = true
        else {
          own.revision = revision
          own.text = text
        }
        this.#latest.delete(own.key)
        if (own.isLate) this.#parts.onSeenLate(own.session)
        own.isLate = false
      } catch (error) {
        own.isDirty = true
        own.isLate = true
        if (registry.isConnected) log.warn('session_row_not_written', { error })
        clock.after(RETRY, () => void this.#write(own))
        return
      }
    }
  }

  /** `undefined`: it was changed meanwhile. */
  async #put(own: Own, text: string): Promise<number | undefined> {
    try {
      return await this.#parts.registry.put(own.key, text, this.#expected(own))
    } catch (error) {
      if (error instanceof RegistryConflict) return undefined
      throw error
    }
  }

  /** The revision that the row has as far as is known here. */
  #expected(own: Own): number {
    if (own.revision > 0) return own.revision
    const { found } = own
    own.found = undefined
    return found ?? this.#latest.get(own.key)?.revision ?? this.#rows.get(own.key)?.revision ?? 0
  }

  /** Somebody else has written the row. One that was never written takes it over. */
  async #isLost(own: Own): Promise<boolean> {
    const current = await this.#parts.registry.get(own.key)
    const row = current?.value === undefined ? undefined : (JSON.parse(current.value) as SessionRow)
    own.found = 0
    if (current !== undefined && row !== undefined) {
      const { revision } = current
      // What this run has written itself is older than what it has, whenever it was done.
      const isLost = own.revision > 0 && !this.#isOfThisRun(row) && revision > own.revision
      // The answer may come later than what was shown since.
      if (revision > (this.#latest.get(own.key)?.revision ?? 0)) this.#latest.set(own.key, current)
      if (isLost) return true
      own.found = revision
    }
    own.revision = 0
    own.text = ''
    return false
  }

  #isOfThisRun({ node, epoch }: SessionRow): boolean {
    const { self } = this.#parts
    return node === self().node && epoch === self().epoch
  }

  #lose(own: Own): void {
    own.isClosed = true
    this.#forget(own)
    void own.session.close(new StreamError('conflict', 'Replaced by new connection'))
  }

  async #remove(own: Own): Promise<void> {
    const { registry, log, wrote } = this.#parts
    const { revision } = own
    if (revision === 0) return
    try {
      wrote(await registry.remove(own.key, revision))
    } catch (error) {
      if (error instanceof RegistryConflict) {
        // This run wrote it once more without hearing so, and has seen that only now.
        return own.revision > revision ? this.#remove(own) : undefined
      }
      // Nobody has the session any more; whoever hands something to it hears so.
      log.warn('session_row_not_removed', { error })
      this.#stray.set(own.key, { revision: own.revision, node: this.#parts.self().node })
    }
  }

  /**
   * Removes rows of sessions that are not there: they ended while the registry was out of reach, or were
   * written late by a node that others had given up.
   */
  async removeStray(): Promise<void> {
    const { registry, self, isCleaner, wrote } = this.#parts
    for (const [key, stray] of this.#stray) {
      if (!registry.isConnected) return
      if (stray.node !== self().node && !isCleaner(stray.node)) continue
      this.#stray.delete(key)
      try {
        wrote(await registry.remove(key, stray.revision))
      } catch (error) {
        if (error instanceof RegistryConflict) continue
        this.#stray.set(key, stray)
        return
      }
    }
  }

  /**
   * Writes again what the registry has lost of others' sessions, where their nodes have not done so: they may be
   * cut off, and whoever starts is to know of them. If such a session is no more its node removes the row, or
   * who takes care of what that has left.
   */
  async restoreLost(): Promise<void> {
    const { registry, clock, remains, wrote } = this.#parts
    for (const [key, since] of this.#lost) {
      if (!registry.isConnected) return
      if (clock.now() - since < REWRITE) continue
      this.#lost.delete(key)
      const row = this.#rows.get(key)
      if (row === undefined || row.revision > 0) continue
      const { resource } = row
      if (remains(resource.owner) !== undefined) continue
      try {
        const revision = await registry.put(key, JSON.stringify(resource.row), 0)
        wrote(revision)
        if (this.#rows.get(key) === row) this.#rows.set(key, { resource, revision })
      } catch (error) {
        if (error instanceof RegistryConflict) continue
        this.#lost.set(key, clock.now())
        return
      }
    }
  }

  /** A run is taken care of: whatever it may still have written is of nothing. */
  onCleaned(run: NodeRun): void {
    for (const { key, row } of this.of(run)) {
      if (row.revision > 0) this.#stray.set(key, { revision: row.revision, node: run.node })
      this.#dropRow(key)
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

  onChange(change: Change): void {
    const { key, value, revision } = change
    const own = this.#ownByKey.get(key)
    this.#stray.delete(key)
    if (value === undefined) {
      if (change.isLost && own === undefined) this.#onLost(key)
      else this.#onRemoved(key, revision, own)
      return
    }
    const row = JSON.parse(value) as SessionRow
    if (this.#isOfThisRun(row)) return this.#onOwnRow(row, change, own)
    if (own !== undefined && own.revision > 0 && revision > own.revision) {
      this.#latest.set(key, change)
      return this.#lose(own)
    }
    if (own !== undefined) {
      // Ours is newer, and about to be written.
      this.#latest.set(key, change)
      return
    }
    if (this.#parts.isCleaned(row)) {
      this.#dropRow(key)
      this.#stray.set(key, { revision, node: row.node })
      return
    }
    this.#setRow(key, row, revision)
  }

  #onRemoved(key: string, revision: number, own: Own | undefined): void {
    this.#latest.delete(key)
    this.#dropRow(key)
    if (own === undefined || own.revision === 0 || revision <= own.revision) return
    // Somebody has removed what is there still.
    own.revision = 0
    own.text = ''
    this.changed(own.session)
  }

  /**
   * A session whose row is lost is where it was, as far as anybody knows: what it is handed its node takes, or decides
   * anew if it is not there.
   */
  #onLost(key: string): void {
    const row = this.#rows.get(key)
    if (row === undefined) return
    if (this.#parts.isCleaned(row.resource.owner)) return this.#dropRow(key)
    this.#rows.set(key, { resource: row.resource, revision: 0 })
    this.#lost.set(key, this.#parts.clock.now())
  }

  /** This run has written it, perhaps without hearing so, or another node what it knew of it. */
  #onOwnRow({ id }: SessionRow, { key, value, revision }: Change, own: Own | undefined): void {
    this.#dropRow(key)
    if (own === undefined || own.session.id !== id) {
      if (own === undefined) this.#stray.set(key, { revision, node: this.#parts.self().node })
      else if (own.revision === 0) this.#latest.set(key, { key, value, revision })
      return
    }
    if (revision <= own.revision) return
    own.revision = revision
    if (own.text === value) return
    own.text = value ?? ''
    if (own.writing === undefined) this.changed(own.session)
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

  /** The runs of others that have rows, each as often as it has. */
  get owners(): readonly NodeRun[] {
    return Array.from(this.#rows.values(), ({ resource }) => resource.owner)
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
  return SESSION_PREFIX + hash('sha256', jid.full, 'base64url').slice(0, 27)
}
