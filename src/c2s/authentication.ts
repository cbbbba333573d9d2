import type { Connection } from '../connection/connection.ts'
import { after, type Maybe } from '../core/maybe.ts'
import { oncePer } from '../core/once-per.ts'
import type { Guess } from '../core/password-guesses.ts'
import { type BareJid, jid } from '../xmpp/jid.ts'
import type { Octets } from '../xmpp/octets.ts'
import { StreamError } from '../xmpp/stream-error.ts'
import { type Element, el, serialise } from '../xmpp/xml.ts'
import type { Frame } from '../xmpp/xml-parser.ts'
import type { Host, StreamEnvironment } from './environment.ts'
import { decodeInitialResponse, decodeResponse, encodeData } from './sasl/base64.ts'
import {
  type Channel,
  channelBinding,
  channelBindingFeature,
  channelBindingTypes,
} from './sasl/channel-binding.ts'
import type { Failure, Mechanism, SaslContext, SaslOffer, Step } from './sasl/mechanism.ts'
import { createMechanism, offerMechanisms } from './sasl/offer.ts'

export const SASL_NS = 'urn:ietf:params:xml:ns:xmpp-sasl'

/** RFC 6120 §6.4.5 asks for 2 to 5; after them the stream ends with an error. */
const RETRIES = 3

const MALFORMED: Failure = { kind: 'failure', condition: 'malformed-request' }

/** RFC 6120 §6.5.11: the initiating entity may try again later. */
const TOO_MANY: Failure = {
  kind: 'failure',
  condition: 'temporary-auth-failure',
  text: 'too many wrong passwords; try again later',
}

/** Thrown where a mechanism is about to compare a password. */
class TooManyGuesses extends Error {
  override readonly name = 'TooManyGuesses'
}

/** Who a client turned out to be. */
export type Login = {
  readonly account: BareJid
  readonly mechanism: string
  readonly isAnonymous: boolean
}

/** What it needs of the stream that it is for. */
type Stream = {
  readonly connection: Connection
  readonly environment: StreamEnvironment
  /** The `<success/>` is written. */
  readonly onLogin: (login: Login) => void
  /** Closes it behind `last`. */
  readonly end: (last: Octets) => void
}

/** SASL on a client's stream (RFC 6120 §6). */
export class Authentication {
  readonly #stream: Stream
  #host: Host
  #channel: Channel | undefined
  #offer: SaslOffer = { mechanisms: [], channelBindings: [], isProtected: false }
  /** Under way. */
  #mechanism: Mechanism | undefined
  #mechanismName = ''
  /** Whom the client wants to be, as far as it has said. */
  #claimed: BareJid | undefined
  /** Of the password that is being compared. */
  #guess: Guess | undefined
  #failures = 0

  constructor(stream: Stream) {
    this.#stream = stream
    this.#host = stream.environment.defaultHost()
  }

  get isUnderWay(): boolean {
    return this.#mechanism !== undefined
  }

  /** What is offered on a new stream for `host`; `channel` is its TLS connection. */
  features(host: Host, channel: Channel | undefined): readonly Element[] {
    this.#host = host
    this.#channel = channel
    const channelBindings = channel === undefined ? [] : channelBindingTypes(channel)
    const { sasl } = this.#stream.environment.policy
    this.#offer = offerMechanisms(sasl, { isEncrypted: channel !== undefined, channelBindings })
    return featuresOf(this.#offer)
  }

  /** An element of SASL. */
  onElement(frame: Frame): void {
    if (frame.name === 'abort') return this.#fail({ kind: 'failure', condition: 'aborted' })
    const text = frame.toElement().text
    const mechanism = this.#mechanism
    if (frame.name === 'auth') {
      if (mechanism !== undefined) return this.#fail(MALFORMED)
      return this.#begin(frame.attribute('mechanism') ?? '', text)
    }
    if (mechanism === undefined) return this.#fail(MALFORMED)
    const data = decodeResponse(text)
    if ('kind' in data) return this.#fail(data)
    // Who is meant is known: this answer proves that the password is.
    if (this.#claimed === undefined) return this.#take(() => mechanism.respond(data))
    const begun = this.#beginGuess(this.#claimed)
    if (!(begun instanceof Promise)) return this.#respond(mechanism, data, begun)
    void this.#stream.connection.waitFor(begun.then((may) => this.#respond(mechanism, data, may)))
  }

  #respond(mechanism: Mechanism, data: Buffer, mayGuess: boolean): void {
    if (this.#mechanism !== mechanism) return this.#giveUpGuess()
    if (!mayGuess) return this.#fail(TOO_MANY)
    this.#take(() => mechanism.respond(data))
  }

  /** The stream has ended: what is still being checked does not matter any more. */
  abandon(): void {
    this.#mechanism = undefined
  }

  #begin(name: string, text: string): void {
    const mechanism = createMechanism(name, this.#context())
    if ('kind' in mechanism) return this.#fail(mechanism)
    const initial = decodeInitialResponse(text)
    if (initial !== undefined && 'kind' in initial) return this.#fail(initial)
    this.#mechanism = mechanism
    // The session keeps it.
    this.#mechanismName = this.#offer.mechanisms.find((offered) => offered === name) ?? name
    this.#claimed = undefined
    this.#take(() => mechanism.start(initial))
  }

  #context(): SaslContext {
    const { domain, accounts } = this.#host
    const channel = this.#channel
    return {
      domain,
      isEncrypted: channel !== undefined,
      offer: this.#offer,
      channelBinding: (type) => (channel === undefined ? undefined : channelBinding(channel, type)),
      credentials: (localpart, hash) => accounts.keys(this.#claim(localpart), hash),
      verifyPassword: (localpart, password) => {
        const account = this.#claim(localpart)
        return after(this.#beginGuess(account), (mayGuess) => {
          if (!mayGuess) throw new TooManyGuesses()
          return accounts.verifyPassword(account, password)
        })
      },
    }
  }

  #claim(localpart: string): BareJid {
    const account = jid(localpart, this.#host.domain).toBare()
    this.#claimed = account
    return account
  }

  /** False: there were too many wrong ones. */
  #beginGuess(account: BareJid): Maybe<boolean> {
    const { connection, environment } = this.#stream
    return after(environment.guesses.begin(account, connection.address), (guess) => {
      this.#guess = guess
      return guess !== undefined
    })
  }

  #giveUpGuess(): void {
    this.#guess?.undecided()
    this.#guess = undefined
  }

  #take(ask: () => Maybe<Step>): void {
    let step: Maybe<Step>
    try {
      step = ask()
    } catch (error) {
      return this.#cannotCheck(error)
    }
    if (!(step instanceof Promise)) return this.#step(step)
    const done = step.then(
      (next) => this.#step(next),
      (error) => this.#cannotCheck(error),
    )
    void this.#stream.connection.waitFor(done)
  }

  #step(step: Step): void {
    const { connection } = this.#stream
    this.#judge(step)
    if (this.#mechanism === undefined) return
    switch (step.kind) {
      case 'challenge':
        return connection.write(
          `<challenge xmlns='${SASL_NS}'>${encodeData(step.data)}</challenge>` as Octets,
        )
      case 'failure':
        return this.#fail(step)
      case 'success': {
        const account = jid(step.localpart, this.#host.domain).toBare()
        if (step.isAnonymous) return this.#succeed(account, step.data, true)
        this.#admit(account, step.data)
      }
    }
  }

  #judge({ kind }: Step): void {
    if (kind === 'success') this.#guess?.right()
    else if (kind === 'failure') this.#guess?.wrong()
    this.#guess = undefined
  }

  /** The password is right; the account may still be closed to its owner. */
  #admit(account: BareJid, data: Buffer | undefined): void {
    const decide = (mayLogIn: boolean) => {
      if (this.#mechanism === undefined) return
      if (!mayLogIn) return this.#fail({ kind: 'failure', condition: 'account-disabled' })
      this.#succeed(account, data, false)
    }
    const asked = this.#host.accounts.mayLogIn(account)
    if (!(asked instanceof Promise)) return decide(asked)
    const decided = asked.then(decide, (error) => this.#cannotCheck(error))
    void this.#stream.connection.waitFor(decided)
  }

  #succeed(account: BareJid, data: Buffer | undefined, isAnonymous: boolean): void {
    const { connection, onLogin } = this.#stream
    this.#mechanism = undefined
    const body = data === undefined ? '/>' : `>${encodeData(data)}</success>`
    connection.write(`<success xmlns='${SASL_NS}'${body}` as Octets)
    onLogin({ account, mechanism: this.#mechanismName, isAnonymous })
  }

  #cannotCheck(error: unknown): void {
    this.#giveUpGuess()
    if (error instanceof TooManyGuesses) return this.#fail(TOO_MANY)
    this.#stream.environment.log.error('sasl_failed', { mechanism: this.#mechanismName, error })
    this.#fail({ kind: 'failure', condition: 'temporary-auth-failure' })
  }

  #fail({ condition, text }: Failure): void {
    const { connection, end } = this.#stream
    const answer = el(
      'failure',
      { xmlns: SASL_NS },
      el(condition),
      text !== undefined && el('text', {}, text),
    )
    this.#mechanism = undefined
    this.#report(condition)
    connection.write(serialise(answer))
    if (++this.#failures > RETRIES) {
      end(new StreamError('policy-violation', 'too many failed attempts').toOctets())
    }
  }

  #report(condition: string): void {
    const { hooks, log } = this.#stream.environment
    const { address } = this.#stream.connection
    const { domain, session } = this.#host
    const localpart = this.#claimed?.local ?? ''
    const mechanism = this.#mechanismName
    log.info('auth_failed', { localpart, domain, address, mechanism, condition })
    hooks.at('auth_failed', session.points.domainType).tell({}, { localpart, domain, address })
  }
}

const featuresOf = oncePer(({ mechanisms, channelBindings }: SaslOffer): readonly Element[] => {
  const features: Element[] = []
  const names = mechanisms.map((name) => el('mechanism', {}, name))
  if (names.length > 0) features.push(el('mechanisms', { xmlns: SASL_NS }, ...names))
  const bindings = channelBindingFeature(channelBindings)
  if (bindings !== undefined) features.push(bindings)
  return features
})
