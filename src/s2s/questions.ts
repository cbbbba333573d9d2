import type { Logger } from '../core/log.ts'
import type { Octets } from '../xmpp/octets.ts'
import type { Asking, Pings } from './pings.ts'
import type { Pair } from './proofs.ts'

/**
 * So many stanzas are not written without a question among them: a server that is slow is not to be
 * taken for one that does not answer, because of all that it has to read first.
 */
const EVERY = 256

/** The connection on which is asked. */
export interface Channel {
  write(ping: Octets): void
  /**
   * Asks about a key of dialback (XEP-0220 §2.2.2): who answers has read what it was sent before, on the
   * same stream. False: this cannot be asked here.
   */
  probe(onAnswer: () => void): boolean
  /** All has arrived up to this count. */
  onArrived(count: number): void
}

type Question = {
  readonly count: number
  /** Milliseconds since the epoch. */
  readonly at: number
  /** Its ping. `undefined`: none is waited for. */
  asking: Asking | undefined
}

/**
 * What a server that does not count stanzas is asked on one connection: pings (XEP-0199), and where it
 * leaves them without an answer, keys of dialback. Where it cannot be asked about these, what it sends
 * itself shows that it is there.
 */
export class Questions {
  readonly #pings: Pings
  readonly #pair: Pair
  readonly #channel: Channel
  readonly #log: Logger
  /** Oldest first. */
  readonly #open: Question[] = []
  /** Stanzas since the last one. */
  #unasked = 0
  /** Since when the oldest one is waited for, milliseconds since the epoch. */
  #since = 0
  /** It knows pings. */
  #hasAnswers = false
  /** When it was asked about a key because of the pings that are open, milliseconds since the epoch. */
  #probedAt: number | undefined
  /** It can be asked about keys, as far as is known. */
  #canProbe = true

  constructor(pings: Pings, pair: Pair, channel: Channel, log: Logger) {
    this.#pings = pings
    this.#pair = pair
    this.#channel = channel
    this.#log = log
  }

  /** One more stanza was written, the one of this count. */
  wrote(count: number): void {
    this.#unasked++
    if (this.#unasked >= EVERY) this.#ask(count)
  }

  /** What was written leaves, up to this count. */
  flushing(count: number): void {
    if (this.#unasked === 0 || this.#open.length > 0) return
    // Who is asked about keys may log it: a few stanzas wait for one question.
    if (this.#pings.ignoredBy(this.#pair) === undefined) this.#ask(count)
  }

  #ask(count: number): void {
    const now = Date.now()
    const isMute = this.#pings.ignoredBy(this.#pair) !== undefined
    const onAnswer = () => {
      this.#hasAnswers = !isMute
      this.#answered(question)
    }
    const asking = isMute ? undefined : this.#pings.ask(this.#pair, onAnswer)
    const question: Question = { count, at: now, asking }
    if (this.#open.length === 0) this.#since = now
    this.#open.push(question)
    this.#unasked = 0
    if (asking !== undefined) this.#channel.write(asking.ping)
    else this.#canProbe = this.#channel.probe(onAnswer)
  }

  /** It has read what came before, earlier questions with it. */
  #answered(question: Question): void {
    const index = this.#open.indexOf(question)
    if (index < 0) return
    for (const { asking } of this.#open.splice(0, index + 1)) asking?.forget()
    this.#since = Date.now()
    this.#probedAt = undefined
    this.#channel.onArrived(question.count)
  }

  /** Called every second or so, with the count of what is written; `timeout` is for an answer, milliseconds. */
  look(count: number, now: number, timeout: number): void {
    // What was on its way already when it was asked says nothing.
    const delay = timeout / 2
    const ignored = this.#pings.ignoredBy(this.#pair)
    if (ignored !== undefined) {
      if (!this.#canProbe) this.#hear(ignored.heardAt - delay)
    } else if (!this.#hasAnswers && this.isLate(now, delay)) this.#doubt(now, delay)
    // Of what left while pings were ignored, though they are answered now.
    if (this.#unasked > 0 && this.#open.length === 0) this.#ask(count)
  }

  /** Whoever has not answered a ping may be unable to, or hang. */
  #doubt(now: number, delay: number): void {
    const oldest = this.#open[0]
    const latest = this.#open.at(-1)
    if (oldest?.asking === undefined || latest === undefined) return
    if (this.#probedAt === undefined) {
      this.#probedAt = now
      this.#canProbe = this.#channel.probe(() => {
        if (!this.#hasAnswers) this.#giveUpPings()
        this.#answered(latest)
      })
    }
    const then = oldest.asking.heardAt - delay
    if (this.#canProbe || oldest.at > then) return
    this.#giveUpPings()
    this.#hear(then)
  }

  /** What was asked up to then has been read. */
  #hear(then: number): void {
    const index = this.#open.findLastIndex(({ at }) => at <= then)
    const question = this.#open[index]
    if (question !== undefined) this.#answered(question)
  }

  /** It is there, and pinged no more until it answers after all, or can be expected to have learnt it. */
  #giveUpPings(): void {
    const [oldest, ...others] = this.#open
    if (oldest?.asking === undefined) return
    this.#log.info('s2s_ping_unanswered', this.#pair)
    this.#pings.markMute(this.#pair, oldest.asking)
    for (const { asking } of others) asking?.forget()
    for (const question of this.#open) question.asking = undefined
  }

  /**
   * Whether nothing was answered for `timeout` milliseconds, though asked. Who is asked about a key, has half
   * of them for that, however late it was asked.
   */
  isLate(now: number, timeout: number): boolean {
    if (this.#open.length === 0 || now - this.#since < timeout) return false
    return !this.#canProbe || this.#probedAt === undefined || now - this.#probedAt >= timeout / 2
  }

  /** Nothing is asked any more. */
  forget(): void {
    for (const { asking } of this.#open.splice(0)) asking?.forget()
  }
}
