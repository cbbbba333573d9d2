import { Envelope, type Origin } from '../../src/core/envelope.ts'
import type { EndReason } from '../../src/core/hook-map.ts'
import { type Hooks, resultOf } from '../../src/core/hooks.ts'
import { Lanes } from '../../src/core/lanes.ts'
import type { Router } from '../../src/core/router.ts'
import type { Session, SessionInfo, SharedState } from '../../src/core/session.ts'
import type { SessionManager } from '../../src/core/session-manager.ts'
import { Settlement } from '../../src/core/settlement.ts'
import { type FullJid, parseJid } from '../../src/xmpp/jid.ts'
import { Stanza } from '../../src/xmpp/stanza.ts'

type Parts = {
  readonly hooks: Hooks
  readonly router: Router
  readonly sessionManager: SessionManager
  /** Of the node that it is at. */
  readonly run: string
}

/** What a session tells its client, which is somewhere else. */
export interface Client {
  gets(session: SimulatedSession, envelope: Envelope): void
  /** The server answers for what it has sent. */
  isAcknowledged(id: string): void
  ended(session: SimulatedSession): void
}

const NO_LANE = ''

/** A session as the route sees it, of a client with stream management, without a stream. */
export class SimulatedSession implements Session {
  readonly jid: FullJid
  readonly id: string
  readonly domainType = 'main'
  readonly info: SessionInfo
  readonly lastActivity = 0
  readonly lastAction = 0
  readonly #parts: Parts
  /** `undefined` while it has no connection. */
  #client: Client | undefined
  #save: (() => void) | undefined
  readonly #sending = new Lanes()
  readonly #origin: Origin = { kind: 'c2s', session: this }
  priority: number | undefined
  presence: Stanza | undefined
  shared: SharedState = {}
  isClosed = false
  /** Ids of what its client has acknowledged. */
  readonly had = new Set<string>()
  /** It has been elsewhere, or without a connection: then what it has may come again. */
  isResumed = false
  #unacknowledged: Envelope[] = []
  readonly #repeats = new Map<string, Envelope[]>()
  #held: Envelope[] = []
  #holds = 0
  #ended: Promise<void> | undefined

  constructor(
    jid: FullJid,
    id: string,
    openedAt: number,
    client: Client | undefined,
    parts: Parts,
  ) {
    this.jid = jid
    this.id = id
    this.#client = client
    this.#parts = parts
    this.info = {
      connection: 'tls',
      address: '127.0.0.1',
      mechanism: 'SCRAM-SHA-256',
      isAnonymous: false,
      openedAt,
    }
  }

  /** Of the node that it is at. */
  get run(): string {
    return this.#parts.run
  }

  /** What came again of what it has in its hands. */
  get repeats(): readonly Envelope[] {
    return [...this.#repeats.values()].flat()
  }

  get unacknowledged(): readonly Envelope[] {
    return this.#unacknowledged
  }

  // --- Without a connection, and back.

  /** `save` is called for what it is to be kept with, now and whenever there is more. */
  detach(save: () => void): void {
    this.#client = undefined
    this.isResumed = true
    this.#save = save
    save()
  }

  /** As another node had it. */
  restore(queue: readonly Envelope[], had: readonly string[], priority: number | undefined): void {
    this.#unacknowledged = [...queue]
    for (const id of had) this.had.add(id)
    this.priority = priority
    if (priority !== undefined) this.presence = Stanza.build('presence')
  }

  /** Its client is there again, and says what it has got. */
  attach(client: Client, got: ReadonlySet<string>): void {
    this.#client = client
    this.#save = undefined
    for (const envelope of [...this.#unacknowledged]) {
      if (got.has(envelope.stanza.id as string)) this.acknowledge(envelope)
      else client.gets(this, envelope)
    }
  }

  /** It goes on elsewhere. */
  suspend(moved?: Promise<unknown>, rest: readonly Envelope[] = []): Promise<void> {
    this.#ended ??= this.#suspend(moved, rest)
    return this.#ended
  }

  async #suspend(moved: Promise<unknown> | undefined, rest: readonly Envelope[]): Promise<void> {
    this.isClosed = true
    this.#parts.sessionManager.sessions.remove(this)
    // The disk has nothing of what was not written yet.
    const held = this.#held
    this.#held = []
    await moved
    await this.#reroute([...rest, ...held])
  }

  // --- To the client.

  deliver(envelope: Envelope): boolean {
    if (this.isClosed) return false
    if (this.#holds > 0) this.#held.push(envelope)
    else this.#write(envelope)
    return true
  }

  hold() {
    this.#holds++
    let isHeld = true
    const release = () => {
      if (!isHeld) return
      isHeld = false
      this.#holds--
      while (this.#holds === 0 && this.#held.length > 0) this.#write(this.#held.shift() as Envelope)
    }
    const through = (envelope: Envelope) => {
      if (this.isClosed) return false
      this.#write(envelope)
      return true
    }
    return { through, release }
  }

  #write(envelope: Envelope): void {
    const id = envelope.stanza.id as string
    if (this.isResumed && this.#isRepeat(id)) {
      if (this.had.has(id)) this.#arrived(envelope)
      else this.#repeats.set(id, [...(this.#repeats.get(id) ?? []), envelope])
      return
    }
    this.#unacknowledged.push(envelope)
    this.#client?.gets(this, envelope)
    this.#save?.()
  }

  #isRepeat(id: string): boolean {
    return this.had.has(id) || this.#unacknowledged.some(({ stanza }) => stanza.id === id)
  }

  write(): void {}

  setPresence(priority: number | undefined, presence: Stanza | undefined): void {
    this.priority = priority
    this.presence = presence
    this.#parts.sessionManager.changed(this)
  }

  share(changes: Partial<SharedState>): void {
    this.shared = { ...this.shared, ...changes }
    this.#parts.sessionManager.changed(this)
  }

  // --- From the client.

  /** It is available, with this priority. */
  becomesAvailable(priority: number): void {
    if (this.isClosed) return
    this.setPresence(priority, Stanza.build('presence'))
    this.resend()
  }

  /** What waits in the store. */
  resend(): void {
    if ((this.priority ?? -1) < 0) return
    const { hooks } = this.#parts
    hooks.at('resend_offline_messages', this.domainType).run(this.jid, { session: this })
  }

  /** One after the other, each when the one before is decided. */
  send(to: string, id: string): void {
    void this.#sending.run(NO_LANE, () => {
      if (this.isClosed) return undefined
      const settlement = new Settlement()
      const stanza = Stanza.build('message', { type: 'chat', id })
      const envelope = new Envelope(this.jid, parseJid(to), stanza, this.#origin, {}, settlement)
      const answer = () => {
        if (!this.isClosed) this.#client?.isAcknowledged(id)
      }
      const decided = () => {
        if (settlement.isSettled) answer()
        else settlement.tell({ onSettled: answer, onUnsettled: () => {} })
      }
      const outcome = this.#parts.router.route(envelope)
      if (outcome instanceof Promise) return outcome.then(decided)
      return decided()
    })
  }

  acknowledge(envelope: Envelope): void {
    const index = this.#unacknowledged.indexOf(envelope)
    // It has gone back to the route meanwhile.
    if (index === -1) return
    this.#unacknowledged.splice(index, 1)
    const id = envelope.stanza.id as string
    this.had.add(id)
    const repeats = this.#repeats.get(id) ?? []
    this.#repeats.delete(id)
    for (const one of [envelope, ...repeats]) this.#arrived(one)
  }

  #arrived(envelope: Envelope): void {
    envelope.delivery?.acknowledge()
    if (!envelope.hasNotes) return
    const { hooks } = this.#parts
    hooks.at('stanza_acknowledged', this.domainType).run(envelope, { session: this })
  }

  // --- The end.

  close(): Promise<void> {
    return this.end('replaced')
  }

  end(reason: EndReason): Promise<void> {
    this.#ended ??= this.#end(reason)
    return this.#ended
  }

  async #end(reason: EndReason): Promise<void> {
    this.isClosed = true
    this.#client?.ended(this)
    const { sessionManager } = this.#parts
    const leaving = this.#leave(reason)
    sessionManager.holdBack(this.jid, leaving)
    await leaving
    await sessionManager.left(this)
  }

  async #leave(reason: EndReason): Promise<void> {
    const { hooks, sessionManager } = this.#parts
    await hooks.at('user_terminate', this.domainType).run(reason, { session: this })
    await sessionManager.unregister(this, reason)
    const own = [...this.#unacknowledged, ...this.repeats, ...this.#held]
    this.#unacknowledged = []
    this.#held = []
    const point = hooks.at('filter_unacknowledged_messages', this.domainType)
    const filtered = await point.run(own, { jid: this.jid })
    await this.#reroute(resultOf(filtered, []))
  }

  async #reroute(envelopes: readonly Envelope[]): Promise<void> {
    for (const envelope of envelopes) {
      if (envelope.delivery?.giveBack(envelope) === false) continue
      await this.#parts.router.route(envelope.shared(undefined).noted({ isRetry: true }))
    }
  }
}
