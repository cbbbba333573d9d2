import type { Logger } from '../core/log.ts'
import { after, type Maybe } from '../core/maybe.ts'
import type { Octets } from '../xmpp/octets.ts'
import { StanzaError } from '../xmpp/stanza-error.ts'
import {
  answerVerify,
  type DialbackElement,
  type DialbackKeys,
  dialbackAnswer,
  dialbackError,
} from './dialback.ts'

/** One domain of ours and one of another server. */
export type Pair = { readonly local: string; readonly remote: string }

/** Who knows more than one stream. */
export interface Judge {
  /** Whether stanzas for that domain are taken here. */
  serves(domain: string): boolean
  /** Whether this server speaks with that one. */
  allows(pair: Pair): Maybe<boolean>
  /** Asks the server of `remote` whether a key is its own. Rejects with `StanzaError` if it cannot. */
  verify(pair: Pair, id: string, key: string): Promise<boolean>
}

type Parts = {
  readonly judge: Judge
  readonly keys: DialbackKeys
  /** Whether certificates are not the only proof. */
  readonly dialback: boolean
  readonly log: Logger
}

/** The stream on which it happens. */
interface ProvingStream {
  /** As we have called it. */
  readonly id: string
  readonly address: string
  readonly isEnded: boolean
  /** By the certificate that the peer has shown. */
  isVouchedFor(domain: string): boolean
  write(octets: Octets): void
  onProved(pair: Pair): void
  end(last: Octets): void
}

/** Domains that one stream may prove, and proofs that may be on their way at once. */
const MAX_PROVED = 100
const MAX_PENDING = 10

/**
 * Which of another server's domains may send to which of ours on one stream, and how that is proved:
 * by certificate, or by dialback, in both roles of the side that was connected to (XEP-0220 §2.2).
 */
export class Proofs {
  readonly #stream: ProvingStream
  readonly #parts: Parts
  readonly #proved = new Set<string>()
  readonly #pending = new Set<string>()

  constructor(stream: ProvingStream, parts: Parts) {
    this.#stream = stream
    this.#parts = parts
  }

  get isEmpty(): boolean {
    return this.#proved.size === 0
  }

  has(pair: Pair): boolean {
    return this.#proved.has(nameOf(pair))
  }

  add(pair: Pair): void {
    this.#proved.add(nameOf(pair))
    this.#parts.log.info('s2s_in_opened', { ...pair, address: this.#stream.address })
    this.#stream.onProved(pair)
  }

  /** Answers to what was never asked on this connection are dropped. */
  take(element: DialbackElement): Maybe<void> {
    if (element.type !== undefined) return
    return element.name === 'verify' ? this.#answerVerify(element) : this.#answerResult(element)
  }

  /** As the authoritative server: whether a key that somebody got is ours. */
  #answerVerify(question: DialbackElement): void {
    const { judge, keys } = this.#parts
    const { from, to, id } = question
    if (!judge.serves(to)) {
      const error = new StanzaError('item-not-found')
      return this.#stream.write(dialbackError('verify', { from: to, to: from, id }, error))
    }
    this.#stream.write(answerVerify(question, keys))
  }

  /** As the receiving server: whether the peer may send from one domain to another. */
  #answerResult({ from, to, key }: DialbackElement): Maybe<void> {
    const { judge, dialback } = this.#parts
    const pair = { local: to, remote: from }
    const name = nameOf(pair)
    if (!judge.serves(to)) return this.#fail(pair, new StanzaError('item-not-found'))
    if (judge.serves(from)) return this.#fail(pair, new StanzaError('not-authorized'))
    if (this.#pending.has(name)) return
    if (this.#proved.has(name)) return this.#succeed(pair)
    if (this.#pending.size >= MAX_PENDING || this.#proved.size >= MAX_PROVED) {
      return this.#fail(pair, new StanzaError('resource-constraint'))
    }
    return after(judge.allows(pair), (isAllowed) => {
      if (!isAllowed) return this.#fail(pair, new StanzaError('policy-violation'))
      // Dialback without dialing back (XEP-0344 §3.2).
      if (this.#stream.isVouchedFor(from)) return this.#succeed(pair)
      if (!dialback) return this.#fail(pair, new StanzaError('not-authorized'))
      this.#pending.add(name)
      // The peer's other domains go on meanwhile.
      void this.#verify(pair, key).finally(() => this.#pending.delete(name))
    })
  }

  async #verify(pair: Pair, key: string): Promise<void> {
    const { judge, log } = this.#parts
    const { local: from, remote: to } = pair
    let isValid: boolean
    try {
      isValid = await judge.verify(pair, this.#stream.id, key)
    } catch (error) {
      const failure =
        error instanceof StanzaError ? error : new StanzaError('remote-server-timeout')
      return this.#fail(pair, failure)
    }
    if (this.#stream.isEnded) return
    if (isValid) return this.#succeed(pair)
    log.warn('s2s_spoofed', { remote: to, address: this.#stream.address })
    if (!this.isEmpty) return this.#fail(pair, new StanzaError('forbidden'))
    this.#stream.end(dialbackAnswer('result', { from, to, type: 'invalid' }))
  }

  #succeed(pair: Pair): void {
    const { local: from, remote: to } = pair
    this.#stream.write(dialbackAnswer('result', { from, to, type: 'valid' }))
    if (!this.has(pair)) this.add(pair)
  }

  #fail({ local: from, remote: to }: Pair, error: StanzaError): void {
    this.#stream.write(dialbackError('result', { from, to }, error))
  }
}

function nameOf({ local, remote }: Pair): string {
  return `${remote} ${local}`
}
