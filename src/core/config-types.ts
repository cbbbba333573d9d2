import { z } from 'zod'
import {
  type BareJid,
  type Jid,
  JidError,
  parseBare,
  parseJid,
  prepareDomainpart,
} from '../xmpp/jid.ts'

/**
 * Settings that need more than zod's own types. Everybody's schema may use them.
 *
 * Custom messages in a configuration schema name what is expected, as a noun phrase: the loader
 * writes "found "5 parsecs", expected a duration such as …" around them.
 */

const MILLISECONDS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 }

const BYTES = {
  B: 1,
  kB: 1_000,
  KB: 1_000,
  MB: 1_000_000,
  GB: 1_000_000_000,
  KiB: 1_024,
  MiB: 1_048_576,
  GiB: 1_073_741_824,
}

/** Inclusive. Numbers in the unit of the result, or text as in the file: "30s", "256KiB". */
export type Bounds = { readonly min?: number | string; readonly max?: number | string }

type Quantity = {
  /** For JSON Schema and the reference. */
  readonly title: string
  readonly units: Readonly<Record<string, number>>
  /** Anchored; the first group is the amount, the second the unit. */
  readonly pattern: RegExp
  readonly expected: string
}

const DURATION: Quantity = {
  title: 'duration',
  units: MILLISECONDS,
  pattern: /^(\d+(?:\.\d+)?)(ms|s|m|h|d|w)$/,
  expected: 'a duration such as "30s", "5m", "1h" or a number of milliseconds',
}

const SIZE: Quantity = {
  title: 'size',
  units: BYTES,
  pattern: /^(\d+(?:\.\d+)?)(B|kB|KB|MB|GB|KiB|MiB|GiB)$/,
  expected: 'a size such as "256KiB", "1MB" or a number of bytes',
}

/**
 * A length of time: "30s", "5m", or a number of milliseconds. Yields whole milliseconds.
 * A default is written as in the file, with `prefault`: `duration().prefault('30s')`.
 */
export function duration(bounds: Bounds = {}) {
  return quantity(DURATION, bounds)
}

/**
 * An amount of bytes: "256KiB", "1MB", or a number. Yields whole bytes.
 * A default is written as in the file, with `prefault`: `size().prefault('256KiB')`.
 */
export function size(bounds: Bounds = {}) {
  return quantity(SIZE, bounds)
}

/** A domain: "im.example.com". Yields it in canonical form (RFC 7622 §3.2). */
export function domain() {
  return address(prepareDomainpart, {
    title: 'domain',
    expected: 'a domain such as "im.example.com"',
  })
}

/** A domain, or "*.example.org" for all below `example.org`. Yields it in canonical form. */
export function domainPattern() {
  return address(
    (text) =>
      text.startsWith('*.') ? `*.${prepareDomainpart(text.slice(2))}` : prepareDomainpart(text),
    {
      title: 'domain or "*.domain"',
      expected: 'a domain such as "example.org" or "*.example.org"',
    },
  )
}

/** An account's address: "alice@im.example.com". */
export function accountJid() {
  return address<BareJid>(parseAccount, {
    title: 'account',
    expected: 'an account such as "alice@im.example.com"',
  })
}

/** An address that stands for all below it: a domain, an account, a resource. Yields its text. */
export function addressScope() {
  return address((text) => parseJid(text).full, {
    title: 'address',
    expected: 'a domain or JID such as "alice@im.example.com"',
  })
}

/** The address of one session or, without resource, of all of an account. Yields a `Jid`. */
export function sessionJid() {
  return address<Jid>(parseUser, {
    title: 'session',
    expected: 'a JID such as "alice@im.example.com/phone"',
  })
}

/** Somebody whom an account knows, wherever that is. Yields a bare JID. */
export function contactJid() {
  return address<BareJid>(parseBare, {
    title: 'contact',
    expected: 'a bare JID such as "bob@example.org"',
  })
}

function parseUser(text: string): Jid {
  const jid = parseJid(text)
  if (jid.local === '') throw new JidError('the address has no localpart')
  return jid
}

function parseAccount(text: string): BareJid {
  const jid = parseBare(text)
  if (jid.isDomain) throw new JidError('the address has no localpart')
  return jid
}

type AddressKind = { readonly title: string; readonly expected: string }

function address<T>(parse: (text: string) => T, { title, expected }: AddressKind) {
  return z
    .string(expected)
    .meta({ title })
    .transform((input, context): T => {
      try {
        return parse(input)
      } catch (error) {
        if (!(error instanceof JidError)) throw error
        context.issues.push({ code: 'custom', message: `${expected} (${error.message})`, input })
        return z.NEVER
      }
    })
}

function quantity(kind: Quantity, { min, max }: Bounds) {
  const expected = kind.expected + boundsInWords(min, max)
  const least = min === undefined ? 0 : amount(kind, min)
  const most = max === undefined ? Number.MAX_SAFE_INTEGER : amount(kind, max)
  return z
    .union([z.number().min(0, expected), z.string().regex(kind.pattern, expected)], {
      error: expected,
    })
    .meta({ title: kind.title + boundsInWords(min, max) })
    .transform((input, context) => {
      const value = amount(kind, input)
      if (value >= least && value <= most) return value
      context.issues.push({ code: 'custom', message: expected, input })
      return z.NEVER
    })
}

function amount({ units, pattern }: Quantity, input: number | string): number {
  if (typeof input === 'number') return Math.round(input)
  const [, digits = '', unit = ''] = pattern.exec(input) ?? []
  return Math.round(Number(digits) * (units[unit] ?? Number.NaN))
}

function boundsInWords(min: number | string | undefined, max: number | string | undefined): string {
  if (min !== undefined && max !== undefined) return `, from ${min} to ${max}`
  if (min !== undefined) return `, at least ${min}`
  if (max !== undefined) return `, at most ${max}`
  return ''
}
