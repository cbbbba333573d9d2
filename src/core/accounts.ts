import type { BareJid } from '../xmpp/jid.ts'
import { PrecisError, preparePassword } from '../xmpp/precis.ts'
import {
  type Credentials,
  DEFAULT_ITERATIONS,
  DecoyCredentials,
  deriveCredentials,
  matches,
  SCRAM_HASHES,
  type ScramHash,
  type ScramKeys,
  VerifiedPasswords,
} from './credentials.ts'
import { after, type Maybe } from './maybe.ts'
import { RecentAnswers } from './recent-answers.ts'

export interface Account {
  readonly jid: BareJid
  readonly credentials: Credentials
  /** Milliseconds since the epoch. */
  readonly createdAt: number
  /** May not log in, but exists: its messages wait. */
  readonly isDisabled: boolean
}

/**
 * Where accounts are kept. Implementations pass `test/contracts/account-store.test.ts`.
 * Passwords never get here, only the keys made of them.
 */
export interface AccountStore {
  /** False: there is such an account already, and it stays as it is. */
  create(account: Account): Promise<boolean>
  find(jid: BareJid): Promise<Account | undefined>
  exists(jid: BareJid): Promise<boolean>
  /** Replaces all keys. False: no such account. */
  setCredentials(jid: BareJid, credentials: Credentials): Promise<boolean>
  /** False: no such account. */
  setDisabled(jid: BareJid, isDisabled: boolean): Promise<boolean>
  /** False: no such account. In the same step it is remembered that its data is to be removed. */
  remove(jid: BareJid): Promise<boolean>
  /** Whether the data of an account that had this address may not be removed yet. */
  isBeingRemoved(jid: BareJid): Promise<boolean>
  /** All these. */
  removals(): Promise<readonly BareJid[]>
  /** Its data is removed. */
  finishRemoval(jid: BareJid): Promise<void>
  /** In the order of their localparts (by code point), beginning behind `after`. */
  list(domain: string, page: AccountPage): Promise<readonly BareJid[]>
  count(domain: string, which?: AccountFilter): Promise<number>
  /** 32 random bytes, made when first asked for and the same ever after. */
  secret(): Promise<Uint8Array>
}

export interface AccountFilter {
  /** Only those that are, or are not; all when absent. */
  readonly isDisabled?: boolean | undefined
}

export interface AccountPage extends AccountFilter {
  /** Localpart of the last account of the page before. */
  readonly after?: string
  readonly limit: number
}

export interface AccountsOptions {
  /** Of PBKDF2 for new passwords; default 10000, at least 4096. */
  readonly iterations?: number
  readonly verified?: VerifiedPasswords
  /** How many answers of `exists` are remembered; default 10000. */
  readonly maxRemembered?: number
  /** For how long; default 10 seconds, since other processes create and remove accounts too. */
  readonly rememberForMs?: number
  /** Milliseconds, never going back. */
  readonly now?: () => number
  /** An account was created, changed or removed. Resolves when other nodes know. */
  readonly onChanged?: (account: BareJid) => Maybe<unknown>
}

/** Accounts remembered with their keys: those that are about to log in. */
const MAX_LOGINS = 1_000

/**
 * The accounts of the domains we serve, and what may be told about them: to a stranger, an account
 * that does not exist looks and takes as long as one that does.
 *
 * Whoever creates or removes an account runs `register_user` or `remove_user` after it.
 */
export class Accounts {
  readonly #store: AccountStore
  readonly #options: AccountsOptions
  readonly #verified: VerifiedPasswords
  readonly #onChanged: (account: BareJid) => Maybe<unknown>
  /** Answers of `exists`. */
  readonly #known: RecentAnswers<boolean>
  /** A login asks several times. */
  readonly #found: RecentAnswers<Account | undefined>
  #decoys: Promise<DecoyCredentials> | undefined

  constructor(store: AccountStore, options: AccountsOptions = {}) {
    this.#store = store
    this.#options = options
    this.#verified = options.verified ?? new VerifiedPasswords()
    const { rememberForMs = 10_000, maxRemembered = 10_000 } = options
    const { now = () => performance.now() } = options
    const bounds = { forMs: rememberForMs, now }
    const exists = (jid: BareJid) => this.#store.exists(jid)
    this.#known = new RecentAnswers({ ...bounds, max: maxRemembered, ask: exists })
    const find = (jid: BareJid) => this.#store.find(jid)
    this.#found = new RecentAnswers({ ...bounds, max: MAX_LOGINS, ask: find })
    this.#onChanged = options.onChanged ?? (() => {})
  }

  get #iterations(): number {
    return this.#options.iterations ?? DEFAULT_ITERATIONS
  }

  /** False: the account exists. Throws `PrecisError` for a password that RFC 8265 §4 forbids. */
  async create(jid: BareJid, password: string): Promise<boolean> {
    const credentials = await deriveCredentials(password, this.#iterations)
    return await this.import({ jid, credentials, createdAt: Date.now(), isDisabled: false })
  }

  /** An account with its keys, as another server kept them. False: the account exists. */
  async import(account: Account): Promise<boolean> {
    const { jid } = account
    if (jid.local === '' || !jid.isBare) throw new TypeError(`${jid} cannot have an account`)
    return await this.#changed(jid, this.#store.create(account))
  }

  /** False: no such account. Throws as `create`. */
  async setPassword(jid: BareJid, password: string): Promise<boolean> {
    return await this.setKeys(jid, await deriveCredentials(password, this.#iterations))
  }

  /** Keys as another server kept them, in place of all there are. False: no such account. */
  setKeys(jid: BareJid, credentials: Credentials): Promise<boolean> {
    return this.#changed(jid, this.#store.setCredentials(jid, credentials))
  }

  /** Keys of a password. Throws as `create`. */
  derive(password: string): Promise<Credentials> {
    return deriveCredentials(password, this.#iterations)
  }

  setDisabled(jid: BareJid, isDisabled: boolean): Promise<boolean> {
    return this.#changed(jid, this.#store.setDisabled(jid, isDisabled))
  }

  /** False: no such account. */
  remove(jid: BareJid): Promise<boolean> {
    return this.#changed(jid, this.#store.remove(jid))
  }

  /** Resolves as `change`, when nobody has what was before any more, whether it failed or not. */
  async #changed(jid: BareJid, change: Promise<boolean>): Promise<boolean> {
    try {
      return await change
    } finally {
      this.forget(jid)
      await this.#onChanged(jid)
    }
  }

  /** Whether the data of an account that had this address may not be removed yet. */
  isBeingRemoved(jid: BareJid): Promise<boolean> {
    return this.#store.isBeingRemoved(jid)
  }

  /** The accounts of which that is so. */
  removals(): Promise<readonly BareJid[]> {
    return this.#store.removals()
  }

  finishRemoval(jid: BareJid): Promise<void> {
    return this.#store.finishRemoval(jid)
  }

  find(jid: BareJid): Promise<Account | undefined> {
    return this.#store.find(jid)
  }

  /** Asked for every stanza to an address without session: a promise only if the store is asked. */
  exists(jid: BareJid): boolean | Promise<boolean> {
    if (jid.local === '') return false
    return this.#known.get(jid)
  }

  /** Whether there is such an account, and it is not disabled. A promise only if the store is asked. */
  mayLogIn(jid: BareJid): Maybe<boolean> {
    return after(this.#found.get(jid), (account) => account?.isDisabled === false)
  }

  /** The account was created, changed or removed elsewhere. */
  forget(jid: BareJid): void {
    this.#known.forget(jid)
    this.#found.forget(jid)
  }

  /** All accounts of a domain were removed elsewhere. */
  forgetDomain(domain: string): void {
    this.#known.forgetDomain(domain)
    this.#found.forgetDomain(domain)
  }

  list(domain: string, page: AccountPage): Promise<readonly BareJid[]> {
    return this.#store.list(domain, page)
  }

  count(domain: string, which?: AccountFilter): Promise<number> {
    return this.#store.count(domain, which)
  }

  /** The keys for SCRAM. Without account, or without keys of this hash: ones that nobody meets. */
  keys(jid: BareJid, hash: ScramHash): Maybe<ScramKeys> {
    return after(
      this.#found.get(jid),
      (account) => account?.credentials[hash] ?? this.fakeKeys(jid, hash),
    )
  }

  /** What SCRAM shows for an account that does not exist; always the same for one address. */
  async fakeKeys(jid: BareJid, hash: ScramHash): Promise<ScramKeys> {
    this.#decoys ??= this.#loadDecoys()
    return (await this.#decoys).keys(jid, hash)
  }

  /**
   * Whether the account exists and this is its password. Whether it is disabled is asked later. A promise
   * unless both are known from a moment ago.
   */
  verifyPassword(jid: BareJid, password: string): Maybe<boolean> {
    const prepared = prepare(password)
    if (prepared === undefined) return false
    return after(this.#found.get(jid), (account) => this.#matches(jid, account, prepared))
  }

  #matches(jid: BareJid, account: Account | undefined, prepared: string): Maybe<boolean> {
    const credentials = account?.credentials ?? {}
    const hash = SCRAM_HASHES.find((candidate) => credentials[candidate]) ?? 'SHA-256'
    const keys = credentials[hash]
    if (!keys) return this.#failSlowly(jid, hash, prepared)
    if (this.#verified.has(jid, keys.storedKey, prepared)) return true
    return this.#compare(jid, hash, keys, prepared)
  }

  /** As long as if there were such an account. */
  async #failSlowly(jid: BareJid, hash: ScramHash, prepared: string): Promise<boolean> {
    await matches(hash, await this.fakeKeys(jid, hash), prepared)
    return false
  }

  async #compare(
    jid: BareJid,
    hash: ScramHash,
    keys: ScramKeys,
    prepared: string,
  ): Promise<boolean> {
    const isRight = await matches(hash, keys, prepared)
    if (isRight) this.#verified.add(jid, keys.storedKey, prepared)
    return isRight
  }

  async #loadDecoys(): Promise<DecoyCredentials> {
    try {
      return new DecoyCredentials(await this.#store.secret(), this.#iterations)
    } catch (error) {
      this.#decoys = undefined
      throw error
    }
  }
}

/** A password that nobody can have set is only a wrong one. */
function prepare(password: string): string | undefined {
  try {
    return preparePassword(password)
  } catch (error) {
    if (error instanceof PrecisError) return undefined
    throw error
  }
}
