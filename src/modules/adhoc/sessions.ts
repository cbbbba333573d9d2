import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { AdhocStage } from '../../core/adhoc.ts'
import { StanzaError } from '../../xmpp/stanza-error.ts'
import { refusal } from './protocol.ts'

/** One command on its way, of one requester. */
export type AdhocSession = {
  readonly id: string
  readonly node: string
  readonly requester: string
  /** Those that were shown, the one to be answered last. */
  readonly stages: AdhocStage[]
  until: number
  /** Something is being done; nothing else may begin. */
  isBusy: boolean
}

type Options = {
  readonly maxSessions: number
  readonly maxPerRequester: number
  /** How long an answer may take, milliseconds. */
  readonly timeout: number
  readonly now: () => number
}

/**
 * Commands that wait for an answer, oldest first. An id says itself whether it was given to this
 * requester, so that one that is over is told from one that never was, and nothing is kept for that.
 */
export class AdhocSessions {
  readonly #options: Options
  readonly #sessions = new Map<string, AdhocSession>()
  readonly #key = randomBytes(32)

  constructor(options: Options) {
    this.#options = options
  }

  get size(): number {
    return this.#sessions.size
  }

  /** An id of a command that may be over at once. */
  newId(requester: string): string {
    const random = randomBytes(12).toString('hex')
    return `${random}-${this.#proof(random, requester)}`
  }

  /**
   * Whoever has many open loses its oldest: forms are left behind unanswered. Throws
   * `resource-constraint` when all together have too many.
   */
  open(id: string, { node, requester }: Pick<AdhocSession, 'node' | 'requester'>): AdhocSession {
    this.#expire()
    const { maxSessions, maxPerRequester, timeout, now } = this.#options
    const own = [...this.#sessions.values()].filter((other) => other.requester === requester)
    for (const oldest of own.slice(0, Math.max(0, own.length + 1 - maxPerRequester))) {
      this.close(oldest)
    }
    if (this.#sessions.size >= maxSessions) {
      throw new StanzaError('resource-constraint', { text: 'too many commands are open' })
    }
    const until = now() + timeout
    const session = { id, node, requester, stages: [], until, isBusy: false }
    this.#sessions.set(id, session)
    return session
  }

  /** Throws `session-expired` for one that is over, `bad-sessionid` for one that never was. */
  find(id: string, requester: string, node: string): AdhocSession {
    this.#expire()
    const session = this.#sessions.get(id)
    if (session?.requester === requester && session.node === node) {
      session.until = this.#options.now() + this.#options.timeout
      this.#sessions.delete(id)
      this.#sessions.set(id, session)
      return session
    }
    const isOver = session === undefined && this.#wasGiven(id, requester)
    throw isOver
      ? refusal('session-expired', 'this command is over')
      : refusal('bad-sessionid', 'there is no such command')
  }

  close({ id }: AdhocSession): void {
    this.#sessions.delete(id)
  }

  /** The requester is gone. */
  closeAll(requester: string): void {
    for (const session of this.#sessions.values()) {
      if (session.requester === requester) this.close(session)
    }
  }

  /** Each use puts a session at the end, so those that expire first come first. */
  #expire(): void {
    const now = this.#options.now()
    for (const session of this.#sessions.values()) {
      if (session.until > now) return
      this.close(session)
    }
  }

  #wasGiven(id: string, requester: string): boolean {
    const [random = '', proof = ''] = id.split('-')
    const expected = Buffer.from(this.#proof(random, requester))
    const given = Buffer.from(proof)
    return expected.length === given.length && timingSafeEqual(expected, given)
  }

  #proof(random: string, requester: string): string {
    return createHmac('sha256', this.#key)
      .update(`${random} ${requester}`)
      .digest('hex')
      .slice(0, 24)
  }
}
