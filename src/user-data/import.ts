/** Accounts that come from elsewhere, with all that is kept of them. */
import type { Account } from '../core/accounts.ts'
import type { Credentials, ScramHash, ScramKeys } from '../core/credentials.ts'
import { OWN_DATA_NS, type Taken, type UserDataPortion } from '../core/user-data.ts'
import { parseDateTime } from '../xmpp/datetime.ts'
import type { BareJid } from '../xmpp/jid.ts'
import { PrecisError } from '../xmpp/precis.ts'
import { StanzaError } from '../xmpp/stanza-error.ts'
import type { Element } from '../xmpp/xml.ts'
import type { UserDataEvent } from './events.ts'

export const SCRAM_NS = 'urn:xmpp:pie:0#scram'
const MECHANISMS: Readonly<Record<string, ScramHash>> = {
  'SCRAM-SHA-1': 'SHA-1',
  'SCRAM-SHA-256': 'SHA-256',
}

/** Portions that are written at the same time. */
const AT_ONCE = 32
/** Problems that are told one by one. */
const MAX_PROBLEMS = 100

/** Where accounts go. */
export interface ImportTarget {
  isServed(domain: string): boolean
  find(account: BareJid): Promise<Account | undefined>
  /** False: it exists. */
  create(account: Account): Promise<boolean>
  setKeys(account: BareJid, keys: Credentials): Promise<boolean>
  derive(password: string): Promise<Credentials>
  take(account: BareJid, portion: UserDataPortion): Promise<Taken>
  now(): number
}

export type Imported = {
  /** Accounts that are new, and those that were there: their keys stay. */
  accounts: number
  existing: number
  /** Contacts, messages and all else that is new, and what was there. */
  added: number
  there: number
  /** What was left out, and why; the first of them. */
  readonly problems: string[]
  problemCount: number
}

/** One account, as it comes. */
type User = {
  readonly account: BareJid
  readonly password: string | undefined
  readonly isServed: boolean
  keys: Credentials
  own: Element | undefined
  isThere: boolean
  /** What is done of it so far. */
  tail: Promise<void>
}

/**
 * Takes accounts in, in the order in which they come, several at a time; parts of one account one after
 * the other. What is there already stays: broken off, the same source is simply given again. Rejects
 * with the reason of `signal` when that is aborted; what has come until then stays.
 */
export async function importUsers(
  source: AsyncIterable<UserDataEvent>,
  target: ImportTarget,
  { signal }: { readonly signal: AbortSignal },
): Promise<Imported> {
  const run = new ImportRun(target)
  try {
    for await (const event of source) {
      signal.throwIfAborted()
      await run.handle(event)
    }
  } catch (error) {
    await run.settle()
    throw error
  }
  return await run.finish()
}

class ImportRun {
  readonly #target: ImportTarget
  readonly #result: Imported = {
    accounts: 0,
    existing: 0,
    added: 0,
    there: 0,
    problems: [],
    problemCount: 0,
  }
  readonly #unserved = new Set<string>()
  readonly #underWay = new Set<Promise<void>>()
  #user: User | undefined
  #failure: unknown

  constructor(target: ImportTarget) {
    this.#target = target
  }

  async handle(event: UserDataEvent): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    switch (event.kind) {
      case 'problem':
        return this.#problem(event.place, event.text)
      case 'user':
        return await this.#begin(event)
      case 'portion':
        return await this.#portion(event.portion, event.place)
    }
  }

  /** Resolves when nothing is under way any more. */
  async settle(): Promise<void> {
    await Promise.all(this.#underWay)
  }

  async finish(): Promise<Imported> {
    if (this.#user !== undefined) await this.#put(this.#user, 'the end', () => Promise.resolve())
    await this.settle()
    if (this.#failure !== undefined) throw this.#failure
    return this.#result
  }

  async #begin({ account, password, place }: UserDataEvent & { kind: 'user' }): Promise<void> {
    const before = this.#user
    // One without any parts.
    if (before !== undefined) await this.#put(before, place, () => Promise.resolve())
    const { domain } = account
    const isServed = this.#target.isServed(domain)
    if (!isServed && !this.#unserved.has(domain)) {
      this.#unserved.add(domain)
      this.#problem(place, `${domain} is not served here: its accounts are left out`)
    }
    const tail = Promise.resolve()
    this.#user = { account, password, isServed, keys: {}, own: undefined, isThere: false, tail }
  }

  async #portion(portion: UserDataPortion, place: string): Promise<void> {
    const user = this.#user
    if (user === undefined || !user.isServed) return
    const { part } = portion
    if (part.name === 'scram-credentials' && part.ns === SCRAM_NS) {
      const read = readKeys(part)
      if (typeof read === 'string') return this.#problem(place, `${user.account}: ${read}`)
      user.keys = { ...user.keys, ...read }
      if (user.isThere) await this.#put(user, place, () => this.#lateKeys(user))
      return
    }
    if (part.name === 'account' && part.ns === OWN_DATA_NS) {
      user.own = part
      return
    }
    await this.#put(user, place, async () => {
      const { isKnown, added, there, problems } = await this.#target.take(user.account, portion)
      const text = `${user.account}: <${part.name}/> in namespace "${part.ns}": nobody here knows it`
      if (!isKnown) this.#problem(place, text)
      this.#result.added += added
      this.#result.there += there
      for (const problem of problems) this.#problem(place, `${user.account}: ${problem}`)
    })
  }

  /** Behind what is under way for the account, which is created first. */
  async #put(user: User, place: string, work: () => Promise<void>): Promise<void> {
    if (!user.isServed) return
    const isFirst = !user.isThere
    user.isThere = true
    const done = user.tail.then(async () => {
      try {
        if (isFirst) await this.#create(user)
        await work()
      } catch (error) {
        // What is wrong with a part is told; what is wrong with the store ends it.
        if (!(error instanceof StanzaError || error instanceof PrecisError)) throw error
        this.#problem(place, `${user.account}: ${error.message}`)
      }
    })
    const settled = done.catch((error: unknown) => {
      this.#failure ??= error
    })
    user.tail = settled
    this.#underWay.add(settled)
    void settled.then(() => this.#underWay.delete(settled))
    while (this.#underWay.size >= AT_ONCE) await Promise.race(this.#underWay)
  }

  async #create(user: User): Promise<void> {
    const { account, password, own } = user
    const target = this.#target
    const found = await target.find(account)
    if (found !== undefined) {
      this.#result.existing++
      // It was broken off before it had any.
      if (Object.keys(found.credentials).length === 0) await this.#lateKeys(user)
      return
    }
    const keys = await this.#keysOf(user.keys, password)
    if (Object.keys(keys).length === 0) {
      this.#problem('', `${account} has no password here: set one with "account password"`)
    }
    const isNew = await target.create({
      jid: account,
      credentials: keys,
      createdAt: parseDateTime(own?.attr('created') ?? '') ?? target.now(),
      isDisabled: own?.attr('disabled') === 'true',
    })
    if (isNew) this.#result.accounts++
    else this.#result.existing++
  }

  async #lateKeys({ account, keys, password }: User): Promise<void> {
    const found = await this.#target.find(account)
    const all = await this.#keysOf({ ...found?.credentials, ...keys }, password)
    if (Object.keys(all).length > 0) await this.#target.setKeys(account, all)
  }

  async #keysOf(keys: Credentials, password: string | undefined): Promise<Credentials> {
    if (Object.keys(keys).length > 0 || password === undefined || password === '') return keys
    return await this.#target.derive(password)
  }

  #problem(place: string, text: string): void {
    this.#result.problemCount++
    const { problems } = this.#result
    if (problems.length < MAX_PROBLEMS) problems.push(place === '' ? text : `${place}: ${text}`)
  }
}

/** Keys for a mechanism that we do not have are left; a text says what is wrong. */
function readKeys(element: Element): Credentials | string {
  const hash = MECHANISMS[element.attr('mechanism') ?? '']
  if (hash === undefined) return {}
  const iterations = Number(element.child('iter-count')?.text.trim())
  const length = hash === 'SHA-1' ? 20 : 32
  const read = (decode: (text: string) => Buffer): ScramKeys | undefined => {
    const octets = (name: string) => decode(element.child(name)?.text.trim() ?? '')
    const [salt, storedKey, serverKey] = [
      octets('salt'),
      octets('stored-key'),
      octets('server-key'),
    ]
    const isWhole = storedKey.length === length && serverKey.length === length && salt.length > 0
    return isWhole ? { salt, iterations, storedKey, serverKey } : undefined
  }
  // ejabberd has base64 in its tables, and writes that in base64.
  const keys = read(fromBase64) ?? read((text) => fromBase64(fromBase64(text).toString('latin1')))
  if (keys === undefined || !(Number.isSafeInteger(iterations) && iterations > 0)) {
    return `keys for SCRAM-${hash} are damaged`
  }
  return { [hash]: keys }
}

function fromBase64(text: string): Buffer {
  return Buffer.from(text, 'base64')
}
