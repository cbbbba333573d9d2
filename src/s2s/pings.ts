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
  /** Those that are not asked, and until when, milliseconds since the epoch; longest first. */
  readonly #mute = new Map<string, { readonly until: number; readonly ignored: Asking }>()

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
      if (this.#mute.get(nameOf(pair))?.ignored === asking) this.#mute.delete(nameOf(pair))
      onAnswer()
    }
    const { id, forget } = this.#iq.expect(parseJid(remote), answered)
    this.#open.add(id)
    const attributes = { type: 'get', id, from: local, to: remote }
    const asking: Asking = {
      ping: serialise(el('iq', { xmlns: SERVER_NS, ...attributes }, PING), SERVER_NS),
      get heardAt() {
        return asked.heardAt
      },
      forget: () => {
        forget()
        this.#forget(remote, id)
      },
    }
    return asking
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

  /** The ping that this server has left without an answer, not long ago, and has not answered since. */
  ignoredBy(pair: Pair): Asking | undefined {
    const mute = this.#mute.get(nameOf(pair))
    return mute !== undefined && mute.until > Date.now() ? mute.ignored : undefined
  }

  markMute(pair: Pair, ignored: Asking): void {
    this.#unmute(nameOf(pair))
    this.#mute.set(nameOf(pair), { until: Date.now() + MUTE_FOR, ignored })
    if (this.#mute.size <= MAX_MUTE) return
    for (const oldest of this.#mute.keys()) {
      this.#unmute(oldest)
      break
    }
  }

  #unmute(name: string): void {
    this.#mute.get(name)?.ignored.forget()
    this.#mute.delete(name)
  }
}

const PING = el('ping', { xmlns: PING_NS })

function nameOf({ local, remote }: Pair): string {
  return `${remote} ${local}`
}
