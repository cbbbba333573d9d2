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
import type { Maybe } from './maybe.ts'
import { domainOf } from './owned-data.ts'

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
  /** An account was created or removed. Resolves when other nodes know. */
  readonly onChanged?: (account: BareJid) => Maybe<unknown>
}

type Remembered = { answer: boolean | Promise<boolean>; readonly until: number }

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
  readonly #maxRemembered: number
  readonly #rememberForMs: number
  readonly #now: () => number
  readonly #onChanged: (account: BareJid) => Maybe<unknown>
  /** Answers of `exists` by bare JID, oldest first. */
  readonly #remembered = new Map<string, Remembered>()
  #decoys: Promise<DecoyCredentials> | undefined

  constructor(store: AccountStore, options: AccountsOptions = {}) {
    this.#store = store
    this.#options = options
    this.#verified = options.verified ?? new VerifiedPasswords()
    this.#maxRemembered = options.maxRemembered ?? 10_000
    this.#rememberForMs = options.rememberForMs ?? 10_000
    this.#now = options.now ?? (() => performance.now())
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
    const isCreated = await this.#store.create(account)
    this.forget(jid)
    await this.#onChanged(jid)
    return isCreated
  }

  /** False: no such account. Throws as `create`. */
  async setPassword(jid: BareJid, password: string): Promise<boolean> {
    return this.#store.setCredentials(jid, await deriveCredentials(password, this.#iterations))
  }

  /** Keys as another server kept them, in place of all there are. False: no such account. */
  setKeys(jid: BareJid, credentials: Credentials): Promise<boolean> {
    return this.#store.setCredentials(jid, credentials)
  }

  /** Keys of a password. Throws as `create`. */
  derive(password: string): Promise<Credentials> {
    return deriveCredentials(password, this.#iterations)
  }

  setDisabled(jid: BareJid, isDisabled: boolean): Promise<boolean> {
    return this.#store.setDisabled(jid, isDisabled)
  }

  /** False: no such account. */
  async remove(jid: BareJid): Promise<boolean> {
    const isRemoved = await this.#store.remove(jid)
    this.forget(jid)
    await this.#onChanged(jid)
    return isRemoved
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
    const remembered = this.#remembered.get(jid.full)
    if (remembered && this.#now() < remembered.until) return remembered.answer
    return this.#ask(jid)
  }

  /** The account was created or removed elsewhere. */
  forget(jid: BareJid): void {
    this.#remembered.delete(jid.full)
  }

  /** All accounts of a domain were removed elsewhere. */
  forgetDomain(domain: string): void {
    for (const account of this.#remembered.keys()) {
      if (domainOf(account) === domain) this.#remembered.delete(account)
    }
  }

  list(domain: string, page: AccountPage): Promise<readonly BareJid[]> {
    return this.#store.list(domain, page)
  }

  count(domain: string, which?: AccountFilter): Promise<number> {
    return this.#store.count(domain, which)
  }

  /** The keys for SCRAM. Without account, or without keys of this hash: ones that nobody meets. */
  async keys(jid: BareJid, hash: ScramHash): Promise<ScramKeys> {
    const account = await this.#store.find(jid)
    return account?.credentials[hash] ?? (await this.fakeKeys(jid, hash))
  }

  /** What SCRAM shows for an account that does not exist; always the same for one address. */
  async fakeKeys(jid: BareJid, hash: ScramHash): Promise<ScramKeys> {
    this.#decoys ??= this.#loadDecoys()
    return (await this.#decoys).keys(jid, hash)
  }

  /** Whether the account exists and this is its password. Whether it is disabled is asked later. */
  async verifyPassword(jid: BareJid, password: string): Promise<boolean> {
    const prepared = prepare(password)
    if (prepared === undefined) return false
    const credentials = (await this.#store.find(jid))?.credentials ?? {}
    const hash = SCRAM_HASHES.find((candidate) => credentials[candidate]) ?? 'SHA-256'
    const keys = credentials[hash]
    if (!keys) {
      await matches(hash, await this.fakeKeys(jid, hash), prepared)
      return false
    }
    if (this.#verified.has(jid, keys.storedKey, prepared)) return true
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

  /** Those who ask meanwhile share the question; what is forgotten meanwhile stays forgotten. */
  #ask(jid: BareJid): Promise<boolean> {
    const asked = this.#store.exists(jid)
    const entry: Remembered = { answer: asked, until: this.#now() + this.#rememberForMs }
    this.#remember(jid.full, entry)
    asked.then(
      (answer) => {
        entry.answer = answer
      },
      () => {
        if (this.#remembered.get(jid.full) === entry) this.forget(jid)
      },
    )
    return asked
  }

  #remember(jid: string, entry: Remembered): void {
    this.#remembered.delete(jid)
    if (this.#remembered.size >= this.#maxRemembered) {
      for (const oldest of this.#remembered.keys()) {
        this.#remembered.delete(oldest)
        break
      }
    }
    this.#remembered.set(jid, entry)
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
