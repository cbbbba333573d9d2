import type { BareJid } from '../xmpp/jid.ts'
import { StreamError } from '../xmpp/stream-error.ts'
import type { Account, Accounts } from './accounts.ts'
import type { Hooks } from './hooks.ts'
import type { SessionManager } from './session-manager.ts'

type Parts = {
  readonly accounts: Accounts
  readonly hooks: Hooks
  readonly sessionManager: SessionManager
  /** Whose hooks an account's domain runs. */
  readonly domainTypeOf: (domain: string) => string
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
    const { accounts, hooks, domainTypeOf } = this.#parts
    if (!(await accounts.create(account, password))) return false
    await hooks.at('register_user', domainTypeOf(account.domain)).run(account, {})
    return true
  }

  /** An account as another server kept it. False: the account exists. */
  async import(account: Account): Promise<boolean> {
    const { accounts, hooks, domainTypeOf } = this.#parts
    const { jid } = account
    if (!(await accounts.import(account))) return false
    await hooks.at('register_user', domainTypeOf(jid.domain)).run(jid, {})
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
   * fails to remove its part, the account is gone all the same, and this rejects. `onGone` is called
   * while the sessions are still there, for an answer to one of them.
   */
  async remove(account: BareJid, onGone?: () => void): Promise<boolean> {
    const { accounts, hooks, domainTypeOf, sessionManager } = this.#parts
    if (!(await accounts.remove(account))) return false
    onGone?.()
    // Sessions first: what they were about to receive goes to the modules, which then forget it.
    const gone = new StreamError('not-authorized', 'The account was removed')
    const sessions = sessionManager.sessions.of(account.bare)
    await Promise.all(sessions.map((session) => session.close(gone)))
    await hooks.at('remove_user', domainTypeOf(account.domain)).run(account, {})
    return true
  }
}
