import type { Jid } from '../xmpp/jid.ts'
import { Stanza } from '../xmpp/stanza.ts'
import { isStanzaCondition, StanzaError } from '../xmpp/stanza-error.ts'
import type { Element } from '../xmpp/xml.ts'
import type { Cluster } from './cluster.ts'
import { Envelope, type Origin, SERVER } from './envelope.ts'
import type { DomainScope } from './hooks.ts'
import type { Logger } from './log.ts'
import { answered, dropped, Outcome } from './outcome.ts'
import type { Router } from './router.ts'
import type { Session } from './session.ts'
import type { Tracer } from './tracer.ts'
import type { UnderWay } from './under-way.ts'

export type IqRequest = {
  readonly type: 'get' | 'set'
  readonly from: Jid
  /** A domain, or the bare JID of an account. */
  readonly to: Jid
  readonly payload: Element
  /** The sender's session, when it is a client of this node. */
  readonly session: Session | undefined
  readonly envelope: Envelope
}

/** Returned by a handler that has answered, or will, by itself. */
export const NO_REPLY: unique symbol = Symbol('no reply')

export type IqAnswer = Element | undefined | typeof NO_REPLY

/** The result's payload, `undefined` for an empty result; or throw a `StanzaError`. */
export type IqHandler = (request: IqRequest) => IqAnswer | Promise<IqAnswer>

/**
 * Asked before the handler of a request, or in its place: `next` asks whoever comes after, in the
 * end that handler.
 */
export type IqInterceptor = (
  target: IqTarget,
  request: IqRequest,
  next: () => IqAnswer | Promise<IqAnswer>,
) => IqAnswer | Promise<IqAnswer>

export type IqRequestOptions = {
  /** Milliseconds; 32 seconds unless told. */
  readonly timeout?: number
  /** On whose behalf; the server's own unless told. */
  readonly origin?: Origin
}

type Registered<T> = { readonly work: T; readonly scope: DomainScope | undefined }

/** Of one payload, those of all domain types. */
type Handlers = {
  readonly get: readonly Registered<IqHandler>[]
  readonly set: readonly Registered<IqHandler>[]
}

const NONE: Handlers = { get: [], set: [] }

type Parts = {
  /** Made later; a server alone needs none. */
  readonly cluster?: () => Pick<Cluster, 'self' | 'isShared' | 'forward'>
  readonly router: Router
  readonly log: Logger
  /** Whose handlers answer for a domain; `undefined` if it is none of ours. */
  readonly domainTypeOf: (domain: string) => string | undefined
  /** Where requests that wait for their handlers are counted. */
  readonly underWay: UnderWay
}

export type IqOptions = {
  /** Only for domains of these types; for all when absent. */
  readonly scope?: DomainScope
  /** Of interceptors, lower comes first; 0 unless told. */
  readonly rank?: number
}

/**
 * Who answers: the server for a domain, the server on behalf of an account, or the server for
 * accounts that do not exist, where a protocol has it say so in another way than by
 * `service-unavailable`.
 */
export type IqTarget = 'server' | 'account' | 'nobody'

/** IQ answers later than this are not waited for, in milliseconds. */
const DEFAULT_TIMEOUT = 32_000

type Asked = {
  readonly type: 'get' | 'set'
  readonly name: string
  readonly ns: string
  readonly domainType: string | undefined
}

type Pending = {
  readonly to: string
  /** With a result or an error. */
  answered(stanza: Stanza): void
  /** There will be no answer. */
  failed(error: StanzaError): void
}

/**
 * Requests to the server and to accounts, by namespace and name of their payload (RFC 6120 §8.2.3),
 * and the server's own requests, matched with their answers.
 */
export class IqDispatcher {
  readonly #handlers: Readonly<Record<IqTarget, Map<string, Handlers>>> = {
    server: new Map(),
    account: new Map(),
    nobody: new Map(),
  }
  readonly #pending = new Map<string, Pending>()
  #interceptors: readonly (Registered<IqInterceptor> & { readonly rank: number })[] = []
  readonly #parts: Parts
  #lastId = 0

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /**
   * Registers the handler for one type, namespace and name. Of those whose scopes overlap, the one
   * that came first answers. Throws if one without scope meets another. Returns the undo.
   */
  on(
    target: IqTarget,
    type: 'get' | 'set',
    ns: string,
    name: string,
    handler: IqHandler,
    { scope }: IqOptions = {},
  ): () => void {
    const table = this.#handlers[target]
    const key = `${name} ${ns}`
    const handlers = table.get(key) ?? NONE
    if (handlers[type].some((other) => other.scope === undefined || scope === undefined))
      throw new Error(`iq ${type} ${name} (${ns}) is handled already`)
    const registered = { work: handler, scope }
    table.set(key, { ...handlers, [type]: [...handlers[type], registered] })
    return () => {
      const left = table.get(key) ?? NONE
      const others = { ...left, [type]: left[type].filter((other) => other !== registered) }
      if (others.get.length + others.set.length === 0) table.delete(key)
      else table.set(key, others)
    }
  }

  /** Namespaces that `target` answers to, in domains of a type; in any when absent. */
  namespaces(target: IqTarget, domainType?: string): string[] {
    const namespaces = new Set<string>()
    for (const [key, { get, set }] of this.#handlers[target]) {
      const isThere = [...get, ...set].some(({ scope }) => isIn(scope, domainType))
      if (isThere) namespaces.add(key.slice(key.indexOf(' ') + 1))
    }
    return [...namespaces]
  }

  /** Lets `interceptor` have all requests first; the one registered last comes last. Returns the undo. */
  intercept(interceptor: IqInterceptor, { scope, rank = 0 }: IqOptions = {}): () => void {
    const registered = { work: interceptor, scope, rank }
    const all = [...this.#interceptors, registered]
    this.#interceptors = all.sort((a, b) => a.rank - b.rank)
    return () => {
      this.#interceptors = this.#interceptors.filter((other) => other !== registered)
    }
  }

  /**
   * What is answered to a request, for those who ask on somebody's behalf; nothing is sent. Throws or
   * rejects with the `StanzaError` of a refusal.
   */
  ask(target: IqTarget, request: IqRequest): IqAnswer | Promise<IqAnswer> {
    const domainType = this.#parts.domainTypeOf(request.to.domain)
    const answer = this.#ask(target, request, domainType)
    if (answer instanceof Promise) this.#parts.underWay.add(answer)
    return answer
  }

  #ask(
    target: IqTarget,
    request: IqRequest,
    domainType: string | undefined,
  ): IqAnswer | Promise<IqAnswer> {
    const interceptors = this.#interceptors
    if (interceptors.length === 0) return this.#handle(target, request, domainType)
    const from = (index: number): IqAnswer | Promise<IqAnswer> => {
      const interceptor = interceptors[index]
      if (interceptor === undefined) return this.#handle(target, request, domainType)
      if (!isIn(interceptor.scope, domainType)) return from(index + 1)
      return interceptor.work(target, request, () => from(index + 1))
    }
    return from(0)
  }

  /** Whether somebody answers such a request; `other` if only the other type. */
  knows(target: IqTarget, { type, name, ns, domainType }: Asked): boolean | 'other' {
    const handlers = this.#handlers[target].get(`${name} ${ns}`) ?? NONE
    if (find(handlers[type], domainType) !== undefined) return true
    return find(handlers[type === 'get' ? 'set' : 'get'], domainType) !== undefined && 'other'
  }

  #handle(
    target: IqTarget,
    request: IqRequest,
    domainType: string | undefined,
  ): IqAnswer | Promise<IqAnswer> {
    const { type, payload } = request
    const handlers = this.#handlers[target].get(`${payload.name} ${payload.ns}`) ?? NONE
    const handler = find(handlers[type], domainType)
    if (handler !== undefined) return handler(request)
    const other = find(handlers[type === 'get' ? 'set' : 'get'], domainType)
    throw new StanzaError(other === undefined ? 'service-unavailable' : 'feature-not-implemented')
  }

  /** Lets the handler of a get or set answer it. */
  answer(target: IqTarget, envelope: Envelope): Outcome | Promise<Outcome> {
    const { tracer, stages } = this.#parts.router
    stages.iq.stanzas++
    return tracer === undefined
      ? this.#answer(target, envelope)
      : this.#follow(tracer, target, envelope)
  }

  #follow(tracer: Tracer, target: IqTarget, envelope: Envelope): Outcome | Promise<Outcome> {
    const work = (followed: Envelope) => this.#answer(target, followed)
    return tracer.pass(this.#parts.router.stages.iq, envelope, work)
  }

  #answer(target: IqTarget, envelope: Envelope): Outcome | Promise<Outcome> {
    const type = envelope.stanza.type as 'get' | 'set'
    const { children } = envelope.stanza
    const [ref] = children
    if (ref === undefined || children.length !== 1) throw new StanzaError('bad-request')
    const request: IqRequest = {
      type,
      from: envelope.from,
      to: envelope.to,
      payload: envelope.stanza.childAt(0) as Element,
      session: envelope.sender,
      envelope,
    }
    // Names that only strangers have made up are counted as one.
    const isKnown = this.#handlers[target].has(`${ref.name} ${ref.ns}`)
    const by = isKnown ? `iq ${ref.ns}` : 'iq'
    let answer: IqAnswer | Promise<IqAnswer>
    try {
      answer = this.ask(target, request)
    } catch (error) {
      return this.#failed(envelope, error, by)
    }
    if (!(answer instanceof Promise)) return this.#reply(envelope, answer, by)
    return answer.then(
      (payload) => this.#reply(envelope, payload, by),
      (error) => this.#failed(envelope, error, by),
    )
  }

  /**
   * Sends a request from the server and waits for the answer: the result's payload. Rejects with
   * the error answered, or `remote-server-timeout` after the time-out.
   */
  request(
    from: Jid,
    to: Jid,
    type: 'get' | 'set',
    payload: Element,
    { timeout = DEFAULT_TIMEOUT, origin = SERVER }: IqRequestOptions = {},
  ): Promise<Element | undefined> {
    const id = this.#newId()
    return new Promise<Element | undefined>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#take(id, to.full)?.failed(new StanzaError('remote-server-timeout'))
      }, timeout).unref()
      const answered = (stanza: Stanza) => {
        clearTimeout(timer)
        if (stanza.type === 'result') resolve(stanza.childAt(0))
        else reject(StanzaError.fromElement(stanza.child('error')))
      }
      const failed = (error: StanzaError) => {
        clearTimeout(timer)
        reject(error)
      }
      this.#pending.set(id, { to: to.full, answered, failed })
      const request = Stanza.build('iq', { type, id }, payload)
      const outcome = this.#parts.router.route(new Envelope(from, to, request, origin))
      const unless = ({ fate, reason }: Outcome) => {
        if (fate !== 'dropped' && fate !== 'bounced') return
        const condition = reason !== undefined && isStanzaCondition(reason) ? reason : undefined
        this.#take(id, to.full)?.failed(new StanzaError(condition ?? 'service-unavailable'))
      }
      if (outcome instanceof Promise) outcome.then(unless, reject)
      else unless(outcome)
    })
  }

  /**
   * For a request that is sent by other ways: what it is called, who is told of any answer to it, on
   * whatever node that comes in, and how to forget it.
   */
  expect(to: Jid, onAnswer: () => void): { readonly id: string; readonly forget: () => void } {
    const id = this.#newId()
    this.#pending.set(id, { to: to.full, answered: onAnswer, failed() {} })
    return { id, forget: () => void this.#pending.delete(id) }
  }

  /** A result or error for a domain or an account: the answer to a request of ours, or nobody's. */
  accept(envelope: Envelope): Outcome {
    const { stanza, from } = envelope
    const pending = this.#take(stanza.id, from.full)
    if (pending === undefined) return this.#forward(envelope)
    pending.answered(stanza)
    return answered('local')
  }

  /** It says which node asked, for the answer may come in at another. */
  #newId(): string {
    const cluster = this.#parts.cluster?.()
    const node = cluster?.isShared === true ? `${cluster.self.node}-` : ''
    return `mk-${node}${(++this.#lastId).toString(36)}`
  }

  #forward(envelope: Envelope): Outcome {
    const cluster = this.#parts.cluster?.()
    const node = /^mk-(.+)-[0-9a-z]+$/.exec(envelope.stanza.id ?? '')?.[1]
    const isForwarded =
      cluster?.isShared === true &&
      node !== undefined &&
      node !== cluster.self.node &&
      cluster.forward(node, envelope)
    if (!isForwarded) return dropped('local', 'unexpected answer')
    return new Outcome('forwarded', 'local', node)
  }

  /** Lets go of all waiting requests. */
  close(): void {
    for (const pending of this.#pending.values()) {
      pending.failed(new StanzaError('service-unavailable'))
    }
    this.#pending.clear()
  }

  /** Whether this answers a request of ours. */
  isAwaited({ stanza, from }: Envelope): boolean {
    return this.#pendingFor(stanza.id, from.full) !== undefined
  }

  /** Only who was asked may answer. */
  #pendingFor(id: string | undefined, from: string): Pending | undefined {
    const pending = id === undefined ? undefined : this.#pending.get(id)
    return pending?.to === from ? pending : undefined
  }

  #take(id: string | undefined, from: string): Pending | undefined {
    const pending = this.#pendingFor(id, from)
    if (id === undefined || pending === undefined) return undefined
    this.#pending.delete(id)
    return pending
  }

  #reply(envelope: Envelope, answer: IqAnswer, by: string): Outcome {
    if (answer === NO_REPLY) return answered(by)
    const attributes = { type: 'result', id: envelope.stanza.id }
    const result =
      answer === undefined ? Stanza.build('iq', attributes) : Stanza.build('iq', attributes, answer)
    const reply = new Envelope(envelope.to, envelope.from, result, SERVER)
    const { router } = this.#parts
    const routed = router.route(router.tracer?.link(envelope, reply) ?? reply)
    if (routed instanceof Promise) void routed
    return answered(by)
  }

  #failed(envelope: Envelope, error: unknown, by: string): Outcome {
    if (error instanceof StanzaError) return this.#parts.router.bounce(envelope, error, by)
    this.#parts.log.error('iq_handler_failed', { by, from: envelope.from.full, error })
    return this.#parts.router.bounce(envelope, new StanzaError('internal-server-error'), by)
  }
}

function find<T>(all: readonly Registered<T>[], domainType: string | undefined): T | undefined {
  for (const { work, scope } of all) if (isIn(scope, domainType)) return work
  return undefined
}

/** For a domain of no type, whatever is there. */
function isIn(scope: DomainScope | undefined, domainType: string | undefined): boolean {
  return scope === undefined || domainType === undefined || scope.has(domainType)
}
