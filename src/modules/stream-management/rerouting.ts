import { setTimeout as sleep } from 'node:timers/promises'
import type { Router } from '../../core/router.ts'
import type { Session } from '../../core/session.ts'
import { within } from '../../core/within.ts'
import type { KeptMessages } from './kept-messages.ts'

/** How often at most a disk that took nothing is asked again for one account, milliseconds. */
const PAUSE = 100
/** How long something newer waits for what is being stored, milliseconds. */
const PATIENCE = 5_000

/**
 * What nobody could store is routed anew: every now and then, before anything newer is stored for the
 * account, and when somebody becomes available. So nothing overtakes it.
 */
export class Rerouting {
  readonly #kept: KeptMessages
  readonly #router: Pick<Router, 'route'>
  /** By account. */
  readonly #underWay = new Map<string, Promise<void>>()
  /** When it failed last, by account, in milliseconds of the process. */
  readonly #failedAt = new Map<string, number>()

  constructor(kept: KeptMessages, router: Pick<Router, 'route'>) {
    this.#kept = kept
    this.#router = router
  }

  /** Tries again for all accounts. */
  retry(): void {
    for (const account of this.#kept.homelessAccounts) void this.before(account)
  }

  /** Resolves when something newer may be stored for the account; `undefined` if it may at once. */
  before(account: string): Promise<void> | undefined {
    const known = this.#underWay.get(account)
    if (known !== undefined) return known
    if (!this.#kept.hasHomeless(account)) return undefined
    const work = this.#route(account).finally(() => this.#underWay.delete(account))
    this.#underWay.set(account, work)
    return work
  }

  /** Somebody has become available: gets what cannot be stored before anything newer. */
  deliverTo(session: Session): void {
    const account = session.jid.bare
    if (this.#underWay.get(account) === undefined && !this.#isBusy(account)) return
    const { through, release } = session.hold()
    void this.#settled(account).then(() => {
      if (!session.isClosed) {
        for (const each of this.#kept.takeHomeless(account)) through(each.asRetry())
      }
      release()
    })
  }

  #isBusy(account: string): boolean {
    return this.#kept.handingOver(account) !== undefined || this.#kept.hasHomeless(account)
  }

  /** All that is being routed or stored is stored, or it is known that it is not. */
  async #settled(account: string): Promise<void> {
    const until = performance.now() + PATIENCE
    for (let left = PATIENCE; left > 0; left = until - performance.now()) {
      const work = this.#underWay.get(account) ?? this.#kept.handingOver(account)
      if (work === undefined) return
      await within(left, work)
    }
  }

  async #route(account: string): Promise<void> {
    const pause = (this.#failedAt.get(account) ?? -PAUSE) + PAUSE - performance.now()
    if (pause > 0) await sleep(pause, undefined, { ref: false })
    for (const envelope of this.#kept.takeHomeless(account)) {
      const outcome = this.#router.route(envelope.asRetry())
      if (outcome instanceof Promise) await outcome
    }
    const stored = this.#kept.handingOver(account)
    if (stored !== undefined) await within(PATIENCE, stored)
    if (this.#kept.hasHomeless(account)) this.#failedAt.set(account, performance.now())
    else this.#failedAt.delete(account)
  }
}
