import { randomUUID } from 'node:crypto'
import type { Envelope } from '../core/envelope.ts'
import type { Octets } from '../xmpp/octets.ts'
import { el, serialise } from '../xmpp/xml.ts'
import type { Pair } from './proofs.ts'
import { SERVER_NS } from './protocol.ts'

const PING_NS = 'urn:xmpp:ping'
/** Servers that are remembered not to answer, and how long, milliseconds. */
const MAX_MUTE = 1_000
const MUTE_FOR = 3_600_000

/** A server that somebody waits for. */
type Asked = {
  /** Pings without an answer. */
  count: number
  /** When it last sent a stanza, on whatever connection; milliseconds since the epoch. */
  heardAt: number
}

export type Asking = {
  readonly ping: Octets
  /** When the other server last sent a stanza, milliseconds since the epoch; 0: not lately. */
  readonly heardAt: number
  forget(): void
}

/**
 * Asks servers that do not count stanzas what they have got (XEP-0199): whoever answers a ping, in
 * whatever way and on whatever connection, has read what came before it (RFC 6120 §10.1).
 */
export class Pings {
  readonly #open = new Map<string, () => void>()
  /** By domain. */
  readonly #asked = new Map<string, Asked>()
  /** Until when, milliseconds since the epoch. */
  readonly #mute = new Map<string, number>()

  /** A ping for the other server, whose answer is told to `onAnswer`. */
  ask(pair: Pair, onAnswer: () => void): Asking {
    const id = randomUUID()
    const name = nameOf(pair, id)
    this.#open.set(name, onAnswer)
    const asked = this.#asked.get(pair.remote) ?? { count: 0, heardAt: 0 }
    asked.count++
    this.#asked.set(pair.remote, asked)
    const attributes = { type: 'get', id, from: pair.local, to: pair.remote }
    return {
      ping: serialise(el('iq', { xmlns: SERVER_NS, ...attributes }, PING), SERVER_NS),
      get heardAt() {
        return asked.heardAt
      },
      forget: () => this.#forget(pair, name),
    }
  }

  #forget({ remote }: Pair, name: string): void {
    if (!this.#open.delete(name)) return
    const asked = this.#asked.get(remote)
    if (asked === undefined) return
    asked.count--
    if (asked.count === 0) this.#asked.delete(remote)
  }

  /** Of every stanza of another server. Takes the answer to a ping. False: it is something else. */
  takes({ stanza, from, to }: Envelope): boolean {
    if (this.#open.size === 0) return false
    const asked = this.#asked.get(from.domain)
    if (asked === undefined) return false
    asked.heardAt = Date.now()
    if (stanza.kind !== 'iq' || stanza.isRequest) return false
    if (!from.isDomain || !to.isDomain || stanza.id === undefined) return false
    const pair = { local: to.domain, remote: from.domain }
    const name = nameOf(pair, stanza.id)
    const onAnswer = this.#open.get(name)
    if (onAnswer === undefined) return false
    this.#forget(pair, name)
    onAnswer()
    return true
  }

  /** Whether that server has left a ping without an answer not long ago. */
  isMute(pair: Pair): boolean {
    return (this.#mute.get(nameOf(pair)) ?? 0) > Date.now()
  }

  markMute(pair: Pair): void {
    this.#mute.delete(nameOf(pair))
    this.#mute.set(nameOf(pair), Date.now() + MUTE_FOR)
    if (this.#mute.size <= MAX_MUTE) return
    for (const oldest of this.#mute.keys()) {
      this.#mute.delete(oldest)
      break
    }
  }
}

const PING = el('ping', { xmlns: PING_NS })

function nameOf({ local, remote }: Pair, id = ''): string {
  return `${remote} ${local} ${id}`
}
