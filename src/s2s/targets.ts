/** Where the server of a domain is (RFC 6120 §3.2, RFC 2782, XEP-0368). */
import type { SrvRecord } from 'node:dns'
import { Resolver } from 'node:dns/promises'
import { isIP, isIPv6 } from 'node:net'
import { asciiDomain } from '../connection/tls.ts'
import { tryParseJid } from '../xmpp/jid.ts'

export type Target = {
  readonly host: string
  readonly port: number
  /** TLS from the first octet. */
  readonly isDirect: boolean
}

export type Address = { readonly address: string; readonly family: 4 | 6 }

/** There is no such server, as far as DNS knows for sure. */
export class ServerNotFound extends Error {
  override readonly name = 'ServerNotFound'
}

type Service = SrvRecord & { readonly isDirect: boolean }

const PORT = 5269
/** Answers of DNS that say that there is nothing, and do not just fail to say. */
const NOTHING = new Set(['ENOTFOUND', 'ENODATA', 'EBADNAME'])
const LOOPBACK: readonly Address[] = [
  { address: '127.0.0.1', family: 4 },
  { address: '::1', family: 6 },
]
/** More are not tried, whatever a stranger's DNS says. */
const MAX_TARGETS = 16
const MAX_ADDRESSES = 16
/** For each question; milliseconds. */
const DNS = { timeout: 3_000, tries: 2 }

/**
 * What a server has named to go to instead of it: a host or an address, IPv6 in brackets, with a port or
 * without (RFC 6120 §4.9.3.19). `undefined` if it is nothing of the kind.
 */
export function namedTarget(text: string): Target | undefined {
  const [, literal, name, digits] =
    /^(?:\[(.+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(text.trim()) ?? []
  const port = digits === undefined ? PORT : Number(digits)
  if (port === 0 || port > 0xffff) return undefined
  if (literal !== undefined)
    return isIPv6(literal) ? { host: literal, port, isDirect: false } : undefined
  const domain = name === undefined ? undefined : tryParseJid(name)
  return domain?.isDomain === true
    ? { host: asciiDomain(domain.domain), port, isDirect: false }
    : undefined
}

type Options = {
  /** DNS servers; those of the system when absent. */
  readonly resolver?: readonly string[] | undefined
  /** By domain; DNS is not asked for these. */
  readonly overrides?: Readonly<Record<string, Target>>
  /** From 0 up to 1. */
  readonly random?: () => number
}

export class TargetFinder {
  readonly #resolver = new Resolver(DNS)
  readonly #overrides: Readonly<Record<string, Target>>
  readonly #random: () => number

  constructor({ resolver, overrides = {}, random = Math.random }: Options) {
    if (resolver !== undefined) this.#resolver.setServers(resolver)
    this.#overrides = overrides
    this.#random = random
  }

  /** In the order in which to try them. Rejects with `ServerNotFound`, or with why DNS cannot tell. */
  async find(domain: string): Promise<readonly Target[]> {
    const override = Object.hasOwn(this.#overrides, domain) ? this.#overrides[domain] : undefined
    if (override !== undefined) return [override]
    const name = asciiDomain(domain)
    const literal = name.replace(/^\[|\]$/g, '')
    if (isIP(literal) !== 0) return [{ host: literal, port: PORT, isDirect: false }]
    const [direct, plain] = await Promise.all([
      this.#services(`_xmpps-server._tcp.${name}`, true),
      this.#services(`_xmpp-server._tcp.${name}`, false),
    ])
    const all = [...listOf(direct), ...listOf(plain)]
    if (all.length === 0) throwFirst(plain, direct)
    if (all.length === 0) return [{ host: name, port: PORT, isDirect: false }]
    const offered = all.filter(({ name: host }) => host !== '' && host !== '.')
    if (offered.length === 0) throw new ServerNotFound(`${domain} has no server for others`)
    return inOrder(offered, this.#random)
      .slice(0, MAX_TARGETS)
      .map(({ name: host, port, isDirect }) => ({ host, port, isDirect }))
  }

  /** Rejects as `find` does. */
  async addressesOf(host: string): Promise<readonly Address[]> {
    const family = isIP(host)
    if (family === 4 || family === 6) return [{ address: host, family }]
    if (host === 'localhost') return LOOPBACK
    const [six, four] = await Promise.all([
      orNothing(this.#resolver.resolve6(host)),
      orNothing(this.#resolver.resolve4(host)),
    ])
    const found: Address[] = [
      ...listOf(six).map((address) => ({ address, family: 6 as const })),
      ...listOf(four).map((address) => ({ address, family: 4 as const })),
    ]
    if (found.length > 0) return found.slice(0, MAX_ADDRESSES)
    throwFirst(six, four)
    throw new ServerNotFound(`${host} has no address`)
  }

  async #services(name: string, isDirect: boolean): Promise<Service[] | Error> {
    const found = await orNothing(this.#resolver.resolveSrv(name))
    return found instanceof Error ? found : found.map((record) => ({ ...record, isDirect }))
  }
}

/** An empty list if there is nothing; an error if that is not known. */
async function orNothing<T>(answer: Promise<T[]>): Promise<T[] | Error> {
  try {
    return await answer
  } catch (error) {
    if (!(error instanceof Error)) throw error
    return NOTHING.has((error as NodeJS.ErrnoException).code ?? '') ? [] : error
  }
}

function listOf<T>(answer: T[] | Error): T[] {
  return answer instanceof Error ? [] : answer
}

function throwFirst(...answers: readonly (readonly unknown[] | Error)[]): void {
  for (const answer of answers) if (answer instanceof Error) throw answer
}

/** By priority; those of the same one at random, by their weights (RFC 2782). */
function inOrder(services: readonly Service[], random: () => number): Service[] {
  const priorities = [...new Set(services.map(({ priority }) => priority))].sort((a, b) => a - b)
  return priorities.flatMap((priority) =>
    shuffled(
      services.filter((service) => service.priority === priority),
      random,
    ),
  )
}

function shuffled(services: readonly Service[], random: () => number): Service[] {
  // Those of weight 0 first, so that they have a small chance to be picked.
  const left = services.toSorted((a, b) => a.weight - b.weight)
  const order: Service[] = []
  while (left.length > 0) {
    const sum = left.reduce((total, { weight }) => total + weight, 0)
    const pick = random() * (sum + 1)
    let running = 0
    const index = left.findIndex(({ weight }) => {
      running += weight
      return running >= Math.floor(pick)
    })
    order.push(...left.splice(Math.max(0, index), 1))
  }
  return order
}
