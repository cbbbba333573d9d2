import { isLocalSession, type Resource, type Session } from '../../core/session.ts'
import type { Sessions } from '../../core/sessions.ts'

export type ElsewhereParts = {
  readonly sessions: Sessions
  /** Has another node look whether there is something for an account. */
  readonly lookAt: (node: string, account: string) => Promise<unknown> | undefined
  /** Whether there are other nodes. */
  readonly isShared: boolean
}

type Parts = ElsewhereParts & {
  /** Looks here. */
  readonly look: (account: string) => void
  /** Whether a session of this node wants messages of the account. */
  readonly isHere: (account: string) => boolean
}

/** After so long it is looked whether somebody was there after all, milliseconds. */
const FIRST_LOOK = 2_000
const LAST_LOOK = 20_000
/** There is nobody to be told, or nothing to wait for. */
export const NOBODY = Promise.resolve()
/** Accounts for which it is remembered that something was stored here. */
const MAX_OWED = 50_000

/**
 * What this node has stored for accounts whose sessions are on other nodes, or may be by now: those are told
 * to look, for each delivers to its own. Other nodes' sessions are known here a moment after they are there.
 */
export class Elsewhere {
  readonly #parts: Parts
  /** When something was last stored for an account of which nobody was known to be there. */
  readonly #stored = new Map<string, number>()
  readonly #storedLongAgo = new Map<string, number>()
  /** Accounts for which something was stored, and nobody was told since: when it is written. */
  readonly #owed = new Map<string, Promise<unknown>>()

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /**
   * Called before something newer is delivered to `targets`. What this node has stored for the account must
   * be on its way to whoever is there by now: resolves when it is, `undefined` if nothing is in question.
   */
  before(account: string, targets: readonly Resource[]): Promise<void> | undefined {
    const written = this.#owed.get(account)
    if (written === undefined) return undefined
    const looked = written
      .catch(() => {})
      .then(() => {
        if (this.#owed.get(account) === looked) this.#owed.delete(account)
        // Another node does so before it takes what it is handed after that.
        this.#parts.look(account)
        // They get something newer.
        for (const target of targets) void this.#tellNodeOf(target)
      })
    this.#owed.set(account, looked)
    return looked
  }

  /** It may be available for longer than is known here. */
  #tellNodeOf({ jid, priority, shared }: Resource): Promise<unknown> | undefined {
    const { clusterNode } = shared
    if (priority !== undefined || clusterNode === undefined) return undefined
    return this.#parts.lookAt(clusterNode, jid.bare)
  }

  /** Something was stored while nobody was known to be there. */
  owe(account: string, written: Promise<unknown>): void {
    if (!this.#parts.isShared) return
    const before = this.#owed.get(account)
    this.#owed.delete(account)
    this.#owed.set(account, before === undefined ? written : bothOver(before, written))
    for (const oldest of this.#owed.keys()) {
      if (this.#owed.size <= MAX_OWED) break
      this.#owed.delete(oldest)
    }
  }

  /**
   * Other nodes' sessions are known here a moment after they are available, and read before: whatever
   * was stored in between is looked for again once that must have become known, and long after.
   */
  mayBeSeenLate(account: string): void {
    if (!this.#parts.isShared) return
    this.#stored.delete(account)
    this.#stored.set(account, performance.now())
  }

  /** Called now and then. */
  lookAgain(): void {
    for (const [looked, next, age] of [
      [this.#storedLongAgo, undefined, LAST_LOOK],
      [this.#stored, this.#storedLongAgo, FIRST_LOOK],
    ] as const) {
      const until = performance.now() - age
      for (const [account, at] of looked) {
        if (at > until) break
        looked.delete(account)
        if (!this.#parts.isHere(account) && this.tell(account) === undefined) {
          next?.set(account, at)
        }
      }
    }
  }

  /**
   * Of sessions on several nodes, that of the oldest is given the queue. If it is on another node than this
   * one, that is told to look; resolves when it has been.
   */
  tell(account: string, session?: Session): Promise<unknown> | undefined {
    let oldest: Resource | undefined = session
    for (const resource of this.#parts.sessions.of(account)) {
      if ((resource.priority ?? -1) < 0 || isLocalSession(resource)) continue
      if (oldest === undefined || isOlder(resource, oldest)) oldest = resource
    }
    const node = oldest?.shared.clusterNode
    if (oldest === undefined || isLocalSession(oldest) || node === undefined) return undefined
    return this.#parts.lookAt(node, account) ?? NOBODY
  }

  /** Tells those whose sessions are not known to be available; resolves when they have been told. */
  tellPossible(account: string): Promise<unknown> | undefined {
    const told = this.#parts.sessions.of(account).flatMap((one) => this.#tellNodeOf(one) ?? [])
    return told.length === 0 ? undefined : Promise.all(told)
  }
}

/** Without what they came to, which would hold that of all before. */
async function bothOver(one: Promise<unknown>, other: Promise<unknown>): Promise<void> {
  await Promise.allSettled([one, other])
}

function isOlder(a: Resource, b: Resource): boolean {
  const difference = a.info.openedAt - b.info.openedAt
  return difference === 0 ? a.id < b.id : difference < 0
}
