import type { Envelope } from '../core/envelope.ts'
import type { IqDispatcher } from '../core/iq.ts'
import { parseJid } from '../xmpp/jid.ts'
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
  readonly #iq: Pick<IqDispatcher, 'expect' | 'isAwaited' | 'accept'>
  /** Their ids. */
  readonly #open = new Set<string>()
  /** By domain. */
  readonly #asked = new Map<string, Asked>()
  /** Until when, milliseconds since the epoch. */
  readonly #mute = new Map<string, number>()

  constructor(iq: Pick<IqDispatcher, 'expect' | 'isAwaited' | 'accept'>) {
    this.#iq = iq
  }

  /** A ping for the other server, whose answer is told to `onAnswer`. */
  ask(pair: Pair, onAnswer: () => void): Asking {
    const { local, remote } = pair
    const asked = this.#asked.get(remote) ?? { count: 0, heardAt: 0 }
    asked.count++
    this.#asked.set(remote, asked)
    const answered = () => {
      this.#forget(remote, id)
      onAnswer()
    }
    const { id, forget } = this.#iq.expect(parseJid(remote), answered)
    this.#open.add(id)
    const attributes = { type: 'get', id, from: local, to: remote }
    return {
      ping: serialise(el('iq', { xmlns: SERVER_NS, ...attributes }, PING), SERVER_NS),
      get heardAt() {
        return asked.heardAt
      },
      forget: () => {
        forget()
        this.#forget(remote, id)
      },
    }
  }

  #forget(remote: string, id: string): void {
    if (!this.#open.delete(id)) return
    const asked = this.#asked.get(remote)
    if (asked === undefined) return
    asked.count--
    if (asked.count === 0) this.#asked.delete(remote)
  }

  /**
   * Of every stanza of another server. Takes the answer to a ping, which waits for nobody. False: it is
   * something else, maybe the answer to a ping of another node.
   */
  takes(envelope: Envelope): boolean {
    const { stanza, from } = envelope
    if (this.#open.size === 0) return false
    const asked = this.#asked.get(from.domain)
    if (asked === undefined) return false
    asked.heardAt = Date.now()
    if (stanza.kind !== 'iq' || stanza.isRequest) return false
    if (!this.#open.has(stanza.id ?? '') || !this.#iq.isAwaited(envelope)) return false
    this.#iq.accept(envelope)
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

function nameOf({ local, remote }: Pair): string {
  return `${remote} ${local}`
}
