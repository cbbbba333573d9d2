import { isIPv4, isIPv6 } from 'node:net'
import type { HttpListener } from './http-schema.ts'
import type { Placed, Problem } from './problems.ts'
import type { ClientListener, ComponentListener, ServerListener } from './schema.ts'

/** Where something listens. */
export type Endpoint = Pick<ClientListener, 'address' | 'port'>

/** All listeners, each kind under the name of its table. */
export type Listeners = {
  readonly c2s: readonly Placed<ClientListener>[]
  readonly component: readonly Placed<ComponentListener>[]
  readonly s2s: readonly Placed<ServerListener>[]
  readonly http: readonly Placed<HttpListener>[]
}

/** Two listeners that cannot both have their port. */
export function* listenerConflicts(listeners: Listeners): Generator<Problem> {
  const all = Object.entries(listeners).flatMap(([kind, placed]) =>
    placed.map(([index, listener]: Placed<Endpoint>) => ({ kind, index, listener })),
  )
  for (const [i, { kind, index, listener }] of all.entries()) {
    const earlier = all.slice(0, i).find((other) => overlap(listener, other.listener))
    if (earlier === undefined) continue
    yield {
      path: ['listen', kind, index],
      text:
        `found ${endpoint(listener)}, which listen.${earlier.kind}[${earlier.index}] ` +
        `(${endpoint(earlier.listener)}) takes already, expected another port or address`,
    }
  }
}

/** What a listener lets pass in the clear where strangers can listen in. */
export function* listenerWarnings({ c2s, http, ...others }: Listeners): Generator<Problem> {
  for (const [index, listener] of http) {
    if (listener.tls !== 'none' || isLoopback(listener.address)) continue
    const text = `"none" on ${endpoint(listener)} sends tokens and what they open unencrypted`
    yield { path: ['listen', 'http', index, 'tls'], text }
  }
  for (const [kind, listeners] of Object.entries(others)) {
    for (const [index, listener] of listeners) {
      if (listener.tls !== 'none' || isLoopback(listener.address)) continue
      const text = `"none" on ${endpoint(listener)} sends every message unencrypted`
      yield { path: ['listen', kind, index, 'tls'], text }
    }
  }
  for (const [index, listener] of c2s) {
    if (isLoopback(listener.address)) continue
    const path = ['listen', 'c2s', index]
    if (listener.tls === 'none') {
      const text = `"none" on ${endpoint(listener)} sends every message unencrypted`
      yield { path: [...path, 'tls'], text }
    }
    if (listener.allow_plain_without_tls && listener.tls !== 'direct') {
      const text = `passwords may cross the network unencrypted on ${endpoint(listener)}`
      yield { path: [...path, 'allow_plain_without_tls'], text }
    }
  }
}

/** Listeners at which nobody can connect, and components that cannot be. */
export function* componentProblems(
  listeners: readonly Placed<ComponentListener>[],
  hosted: readonly string[],
): Generator<Problem> {
  for (const [index, { secret, secrets }] of listeners) {
    const path = ['listen', 'component', index]
    const names = Object.keys(secrets)
    if (secret === undefined && names.length === 0) {
      yield { path, text: 'no component can connect, expected "secret" or "secrets"' }
    }
    for (const name of names.filter((domain) => hosted.includes(domain))) {
      const text = 'found a domain that is in "domains", expected one that a component serves'
      yield { path: [...path, 'secrets', name], text }
    }
  }
}

export function endpoint({ address, port }: Endpoint): string {
  return isIPv6(address) ? `[${address}]:${port}` : `${address}:${port}`
}

export function overlap(a: Endpoint, b: Endpoint): boolean {
  if (a.port !== b.port || a.port === 0) return false
  return a.address === b.address || covers(a.address, b.address) || covers(b.address, a.address)
}

/** Sockets on `::` take IPv4 as well. */
function covers(wide: string, address: string): boolean {
  if (wide === '*' || wide === '::') return true
  return wide === '0.0.0.0' && isIPv4(address)
}

function isLoopback(address: string): boolean {
  return address === 'localhost' || address === '::1' || /^127\./.test(address)
}
