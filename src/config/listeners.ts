import { isIPv4, isIPv6 } from 'node:net'
import type { Placed, Problem } from './problems.ts'
import type { ClientListener } from './schema.ts'

/** Two listeners that cannot both have their port. */
export function* listenerConflicts(
  listeners: readonly Placed<ClientListener>[],
): Generator<Problem> {
  for (const [i, [index, listener]] of listeners.entries()) {
    const earlier = listeners.slice(0, i).find(([, other]) => overlap(listener, other))
    if (earlier === undefined) continue
    const [otherIndex, other] = earlier
    yield {
      path: ['listen', 'c2s', index],
      text:
        `found ${endpoint(listener)}, which listen.c2s[${otherIndex}] ` +
        `(${endpoint(other)}) takes already, expected another port or address`,
    }
  }
}

/** What a listener lets pass in the clear where strangers can listen in. */
export function* listenerWarnings(
  listeners: readonly Placed<ClientListener>[],
): Generator<Problem> {
  for (const [index, listener] of listeners) {
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

export function endpoint({ address, port }: Pick<ClientListener, 'address' | 'port'>): string {
  return isIPv6(address) ? `[${address}]:${port}` : `${address}:${port}`
}

function overlap(a: ClientListener, b: ClientListener): boolean {
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
