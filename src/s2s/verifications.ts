import { StanzaError } from '../xmpp/stanza-error.ts'
import type { OutgoingStream } from './outgoing-stream.ts'

type Verification = {
  readonly key: string
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly answer: PromiseWithResolvers<boolean>
  isSent: boolean
}

/** Those of one domain that may be open at the same time. */
const MAX_OPEN = 100

/** Questions to one server, whether keys that came from its domain are its own (XEP-0220 §2.1.2). */
export class Verifications {
  readonly #open = new Map<string, Verification>()

  get isEmpty(): boolean {
    return this.#open.size === 0
  }

  /** Some have not been sent. */
  get isWaiting(): boolean {
    for (const { isSent } of this.#open.values()) if (!isSent) return true
    return false
  }

  /** `id` is that of the stream on which the key came. Rejects with `StanzaError`. */
  ask(id: string, key: string): Promise<boolean> {
    if (this.#open.size >= MAX_OPEN || this.#open.has(id)) {
      return Promise.reject(new StanzaError('resource-constraint'))
    }
    const answer = Promise.withResolvers<boolean>()
    this.#open.set(id, { key, at: Date.now(), answer, isSent: false })
    return answer.promise
  }

  sendOn(stream: OutgoingStream): void {
    for (const [id, verification] of this.#open) {
      if (verification.isSent) continue
      verification.isSent = true
      stream.verify(id, verification.key)
    }
  }

  answered(id: string, type: string, error: StanzaError | undefined): void {
    const verification = this.#open.get(id)
    if (verification?.isSent !== true) return
    this.#open.delete(id)
    if (type === 'error') verification.answer.reject(unverified(error))
    else verification.answer.resolve(type === 'valid')
  }

  /** Nothing will be answered any more: of all, or of those that were sent, or of those from before. */
  fail(error: StanzaError, which: { readonly isSent?: true; readonly before?: number } = {}): void {
    const { before = Number.POSITIVE_INFINITY } = which
    for (const [id, { answer, isSent, at }] of this.#open) {
      if ((which.isSent && !isSent) || at >= before) continue
      this.#open.delete(id)
      answer.reject(error)
    }
  }
}

/** XEP-0220 §2.4: whoever sent the key is told that its server was not found, whatever that one says. */
function unverified(error: StanzaError | undefined): StanzaError {
  const text = error?.text ?? error?.condition
  return new StanzaError('remote-server-not-found', text === undefined ? {} : { text })
}
