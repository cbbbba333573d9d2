import type { BareJid } from '../xmpp/jid.ts'
import { StreamError } from '../xmpp/stream-error.ts'
import type { Account, Accounts } from './accounts.ts'
import type { Cluster } from './cluster.ts'
import type { Hooks } from './hooks.ts'
import type { Logger } from './log.ts'
import type { SessionManager } from './session-manager.ts'

type Parts = {
  readonly accounts: Accounts
  readonly hooks: Hooks
  readonly sessionManager: SessionManager
  /** Whose hooks an account's domain runs. */
  readonly domainTypeOf: (domain: string) => string
  readonly log: Logger
  /** One node at a time removes what an account has. */
  readonly cluster: Pick<Cluster, 'exclusively'>
}

/**
 * Accounts come, change and go with all that hangs on them: modules are told, sessions ended.
 * Everybody who creates or removes accounts does it here: administration, in-band registration.
 */
export class AccountLifecycle {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** False: the account exists. Throws `PrecisError` for a password that nobody can have. */
  async register(account: BareJid, password: string): Promise<boolean> {
    return await this.#create(account, () => this.#parts.accounts.create(account, password))
  }

  /** An account as another server kept it. False: the account exists. */
  async import(account: Account): Promise<boolean> {
    return await this.#create(account.jid, () => this.#parts.accounts.import(account))
  }

  /** Whoever gets an address gets nothing that somebody else had there. */
  async #create(account: BareJid, create: () => Promise<boolean>): Promise<boolean> {
    const { hooks, domainTypeOf } = this.#parts
    await this.#finishRemoval(account)
    if (!(await create())) return false
    // Another node may have begun to remove the one before, and is not to take the new one's for its.
    await this.#finishRemoval(account)
    await hooks.at('register_user', domainTypeOf(account.domain)).run(account, {})
    return true
  }

  /** False: no such account. Throws as `register`. */
  setPassword(account: BareJid, password: string): Promise<boolean> {
    return this.#parts.accounts.setPassword(account, password)
  }

  /** A disabled account's sessions end, and nobody logs in to it. False: no such account. */
  async setDisabled(account: BareJid, isDisabled: boolean): Promise<boolean> {
    const { accounts, sessionManager } = this.#parts
    if (!(await accounts.setDisabled(account, isDisabled))) return false
    if (!isDisabled) return true
    const disabled = new StreamError('not-authorized', 'The account is disabled')
    const sessions = sessionManager.sessions.of(account.bare)
    await Promise.all(sessions.map((session) => session.close(disabled)))
    return true
  }

  /**
   * Removes the account, ends its sessions, has its data removed. False: no such account. When a module
   * fails to remove its part, the account is gone all the same, and this rejects; what is left is removed
   * before somebody else gets the address, or after the next start. `onGone` is called while the sessions
   * are still there, for an answer to one of them.
   */
  async remove(account: BareJid, onGone?: () => void): Promise<boolean> {
    const { accounts, sessionManager } = this.#parts
    return await this.#exclusively(account, async () => {
      if (!(await accounts.remove(account))) return false
      onGone?.()
      // Sessions first: what they were about to receive goes to the modules, which then forget it.
      const gone = new StreamError('not-authorized', 'The account was removed')
      const sessions = sessionManager.sessions.of(account.bare)
      await Promise.all(sessions.map((session) => session.close(gone)))
      await this.#removeData(account)
      return true
    })
  }

  /** Goes on with removals that were broken off, until `isOver`. Rejects with what the store says. */
  async finishRemovals(isOver: () => boolean): Promise<void> {
    const { accounts, log } = this.#parts
    for (const account of await accounts.removals()) {
      if (isOver()) return
      await this.#finishRemoval(account, isOver).catch((error) =>
        log.error('account_data_not_removed', { account, error }),
      )
    }
  }

  /** Resolves when nothing is left of an account that had this address. */
  async #finishRemoval(account: BareJid, isOver = () => false): Promise<void> {
    const { accounts } = this.#parts
    if (!(await accounts.isBeingRemoved(account))) return
    await this.#exclusively(account, async () => {
      if (!(await accounts.isBeingRemoved(account)) || isOver()) return
      await this.#removeData(account, isOver)
    })
  }

  #exclusively<R>(account: BareJid, work: () => Promise<R>): Promise<R> {
    return this.#parts.cluster.exclusively(`removal ${account.full}`, work)
  }

  async #removeData(account: BareJid, isOver = () => false): Promise<void> {
    const { accounts, hooks, domainTypeOf } = this.#parts
    await hooks.at('remove_user', domainTypeOf(account.domain)).run(account, {})
    // Modules that are stopping may not have.
    if (!isOver()) await accounts.finishRemoval(account)
  }
}
