import { DomainError, prepareDomain } from './idna.ts'
import { inOnePiece, NO_OCTETS, type Octets, owned } from './octets.ts'
import { PrecisError, prepareOpaque, prepareUsername } from './precis.ts'
import { escapeAttribute } from './xml.ts'

/** Not an address (RFC 7622). Answered as `jid-malformed` where a stanza carries it. */
export class JidError extends Error {
  override readonly name = 'JidError'
}

declare const kind: unique symbol

/** `domain` or `local@domain`. */
export type BareJid = Jid & { readonly resource: ''; readonly [kind]: 'bare' }
/** `domain/resource` or `local@domain/resource`. */
export type FullJid = Jid & { readonly [kind]: 'full' }

/** In place of what was asked for once. */
const ONCE = NO_OCTETS

/**
 * An XMPP address in canonical form (RFC 7622). Parts that are absent are ''.
 *
 * Equal addresses are usually, not always, one object: compare with `equals`, or by `full`.
 */
export class Jid {
  readonly local: string
  readonly domain: string
  readonly resource: string
  /** The whole address. */
  readonly full: string
  readonly #bareJid: BareJid | undefined
  #octets: Octets | undefined
  #asFrom: Octets | undefined
  #asTo: Octets | undefined

  /** For this file only: the parts must be prepared. `owner` is absent for a bare JID. */
  constructor(local: string, domain: string, resource: string, full: string, owner?: BareJid) {
    this.local = local
    this.domain = domain
    this.resource = resource
    this.full = full
    this.#bareJid = owner
  }

  /** `full`, escaped for an attribute value in either kind of quotes. */
  get octets(): Octets {
    this.#octets ??= escapeAttribute(this.full)
    return this.#octets
  }

  /** ` from='…'`, for a start tag. Kept from the second time on: many addresses stand on one stanza or on very many. */
  get asFrom(): Octets {
    const kept = this.#asFrom
    if (kept !== undefined && kept !== ONCE) return kept
    const made = inOnePiece(" from='", this.octets, "'")
    this.#asFrom = kept === undefined ? ONCE : made
    return made
  }

  /** ` to='…'`. */
  get asTo(): Octets {
    const kept = this.#asTo
    if (kept !== undefined && kept !== ONCE) return kept
    const made = inOnePiece(" to='", this.octets, "'")
    this.#asTo = kept === undefined ? ONCE : made
    return made
  }

  /** `local@domain`, or `domain`. */
  get bare(): string {
    return this.#bareJid === undefined ? this.full : this.#bareJid.full
  }

  get isBare(): boolean {
    return this.resource === ''
  }

  get isFull(): boolean {
    return this.resource !== ''
  }

  /** Neither localpart nor resourcepart. */
  get isDomain(): boolean {
    return this.full === this.domain
  }

  /** The address without its resourcepart; itself when it has none. */
  toBare(): BareJid {
    return this.#bareJid ?? (this as Jid as BareJid)
  }

  /** The bare address with this resourcepart, which is prepared here. Throws `JidError`. */
  withResource(resource: string): FullJid {
    return fullJid(this.toBare(), prepareResource(resource))
  }

  equals(other: Jid): boolean {
    return this.full === other.full
  }

  bareEquals(other: Jid): boolean {
    return this.bare === other.bare
  }

  toString(): string {
    return this.full
  }

  toJSON(): string {
    return this.full
  }
}

export function isBareJid(jid: Jid): jid is BareJid {
  return jid.isBare
}

export function isFullJid(jid: Jid): jid is FullJid {
  return jid.isFull
}

/** The address that `text` is. Throws `JidError`. */
export function parseJid(text: string): Jid {
  return known(text) ?? parse(text)
}

/** The address that `text` is; undefined when it is absent or none. */
export function tryParseJid(text: string | undefined): Jid | undefined {
  if (text === undefined) return undefined
  try {
    return parseJid(text)
  } catch (error) {
    if (error instanceof JidError) return undefined
    throw error
  }
}

/** The address that `text` is, which must have no resourcepart. Throws `JidError`. */
export function parseBare(text: string): BareJid {
  const jid = parseJid(text)
  if (!isBareJid(jid)) throw new JidError('the address has a resourcepart')
  return jid
}

/** The address of these parts, which are prepared here; '' when absent. Throws `JidError`. */
export function jid(local: string, domain: string): BareJid
export function jid(local: string, domain: string, resource?: string): Jid
export function jid(local: string, domain: string, resource = ''): Jid {
  const owner = bareJid(local === '' ? '' : prepareLocalpart(local), prepareDomainpart(domain))
  return resource === '' ? owner : fullJid(owner, prepareResource(resource))
}

/** Octets of UTF-8 in any one part (RFC 7622 §3.1). */
const MAX_PART = 1023

/** More UTF-16 units than this cannot be composed into `MAX_PART` octets. */
const MAX_UNPREPARED = 4 * MAX_PART

const ASCII_LOCALPART = /^[\x21\x23-\x25\x28-\x2E0-9;=?A-Z[-~]+$/
const EXCLUDED = /["&'/:<>@]/

/** UsernameCaseMapped without the characters of RFC 7622 §3.3.1. Throws `JidError`. */
export function prepareLocalpart(text: string): string {
  if (ASCII_LOCALPART.test(text)) return limited('localpart', text.toLowerCase())
  const local = prepare('localpart', prepareUsername, text)
  if (EXCLUDED.test(local)) throw new JidError('localpart: a character is not allowed')
  return local
}

/** OpaqueString (RFC 7622 §3.4). Throws `JidError`. */
export function prepareResource(text: string): string {
  return prepare('resourcepart', prepareOpaque, text)
}

/** RFC 7622 §3.2. Throws `JidError`. */
export function prepareDomainpart(text: string): string {
  return prepare('domainpart', prepareDomain, text)
}

function prepare(part: string, profile: (text: string) => string, text: string): string {
  if (text.length > MAX_UNPREPARED) throw new JidError(`${part}: too long`)
  try {
    return limited(part, profile(text))
  } catch (cause) {
    if (cause instanceof PrecisError || cause instanceof DomainError) {
      throw new JidError(`${part}: ${cause.message}`, { cause })
    }
    throw cause
  }
}

function limited(part: string, text: string): string {
  const isShort = text.length <= MAX_PART / 3 || Buffer.byteLength(text) <= MAX_PART
  if (!isShort) throw new JidError(`${part}: too long`)
  return text
}

/** RFC 7622 §3.2: the first '/', then the first '@' before it. */
function parse(text: string): Jid {
  const slash = text.indexOf('/')
  const bareText = slash === -1 ? text : text.slice(0, slash)
  const at = bareText.indexOf('@')
  const local = at === -1 ? '' : prepareLocalpart(bareText.slice(0, at))
  const owner = bareJid(local, prepareDomainpart(bareText.slice(at + 1)))
  const parsed = slash === -1 ? owner : fullJid(owner, prepareResource(text.slice(slash + 1)))
  return text === parsed.full ? parsed : remember(owned(text), parsed)
}

/** From prepared parts. */
function bareJid(local: string, domain: string): BareJid {
  const text = local === '' ? domain : `${local}@${domain}`
  const found = known(text)
  if (found !== undefined) return found as BareJid
  const full = owned(text)
  // Of accounts there are many, of their domains few.
  const own = local === '' ? full : (known(domain)?.full ?? full.slice(-domain.length))
  const made = new Jid(full.slice(0, local.length), own, '', full)
  return remember(full, made) as BareJid
}

/** From prepared parts. */
function fullJid(owner: BareJid, resource: string): FullJid {
  const text = `${owner.full}/${resource}`
  const found = known(text)
  if (found !== undefined) return found as FullJid
  const full = owned(text)
  const made = new Jid(owner.local, owner.domain, full.slice(-resource.length), full, owner)
  return remember(full, made) as FullJid
}

/*
 * Addresses by raw and by canonical text. Strangers choose what comes in, so both the number and the
 * size of entries are bounded: when the young generation is full, it becomes the old one, and what
 * nobody asked for since the last time is gone.
 */
const GENERATION = 32_768
const MAX_REMEMBERED = 256

let young = new Map<string, Jid>()
let old = new Map<string, Jid>()

function known(text: string): Jid | undefined {
  const jid = young.get(text)
  if (jid !== undefined) return jid
  const older = old.get(text)
  return older && remember(text === older.full ? older.full : owned(text), older)
}

/** `text` must be owned. */
function remember(text: string, jid: Jid): Jid {
  if (text.length > MAX_REMEMBERED) return jid
  if (young.size >= GENERATION) {
    old = young
    young = new Map()
  }
  young.set(text, jid)
  return jid
}
