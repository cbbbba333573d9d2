import type { Octets } from '../xmpp/octets.ts'
import type { Asking, Pings } from './pings.ts'
import type { Pair } from './proofs.ts'

/**
 * So many stanzas are not written without a ping among them: a server that is slow is not to be taken
 * for one that does not answer, because of all that it has to read first.
 */
const EVERY = 256

type Question = { readonly count: number; readonly asking: Asking }

/** What a server that does not count stanzas is asked on one connection (XEP-0199). */
export class Questions {
  readonly #pings: Pings
  readonly #pair: Pair
  readonly #write: (ping: Octets) => void
  readonly #onAnswer: (count: number) => void
  /** Oldest first. */
  #open: Question[] = []
  /** Stanzas since the last one. */
  #unasked = 0
  /** Since when the oldest one is waited for, milliseconds since the epoch. */
  #since = 0
  /** It knows how. */
  hasAnswers = false

  /** `onAnswer` is told the count up to which all has arrived. */
  constructor(
    pings: Pings,
    pair: Pair,
    write: (ping: Octets) => void,
    onAnswer: (count: number) => void,
  ) {
    this.#pings = pings
    this.#pair = pair
    this.#write = write
    this.#onAnswer = onAnswer
  }

  /** One more stanza was written, the one of this count. */
  wrote(count: number): void {
    this.#unasked++
    if (this.#unasked >= EVERY) this.#ask(count)
  }

  /** What was written leaves, up to this count. */
  flushing(count: number): void {
    if (this.#unasked > 0 && this.#open.length === 0) this.#ask(count)
  }

  #ask(count: number): void {
    const asking = this.#pings.ask(this.#pair, () => this.#answered(question))
    const question: Question = { count, asking }
    if (this.#open.length === 0) this.#since = Date.now()
    this.#open.push(question)
    this.#unasked = 0
    this.#write(asking.ping)
  }

  /** It has read what came before, earlier questions with it. */
  #answered(question: Question): void {
    const index = this.#open.indexOf(question)
    if (index < 0) return
    for (const { asking } of this.#open.splice(0, index + 1)) asking.forget()
    this.#since = Date.now()
    this.hasAnswers = true
    this.#onAnswer(question.count)
  }

  /** Whether nothing was answered for `timeout` milliseconds, though asked. */
  isLate(now: number, timeout: number): boolean {
    return this.#open.length > 0 && now - this.#since >= timeout
  }

  /** Whether the server has sent something else, and that at least `delay` milliseconds after it was asked. */
  isIgnored(delay: number): boolean {
    const [oldest] = this.#open
    return oldest !== undefined && oldest.asking.heardAt - this.#since >= delay
  }

  /** Nothing is asked until the server answers after all, or can be expected to have learnt it. */
  giveUp(): void {
    const oldest = this.#open.shift()
    if (oldest !== undefined) this.#pings.markMute(this.#pair, oldest.asking)
    this.forget()
  }

  /** Nothing is asked any more. */
  forget(): void {
    for (const { asking } of this.#open.splice(0)) asking.forget()
  }
}
