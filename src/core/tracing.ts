import { AsyncLocalStorage } from 'node:async_hooks'
import { type Jid, tryParseJid } from '../xmpp/jid.ts'
import { Envelope } from './envelope.ts'
import { DROP, type Entry, type Handler, type HookName, type Hooks, Stop } from './hooks.ts'
import type { Maybe } from './maybe.ts'
import { Outcome } from './outcome.ts'
import type { Router, RoutingModule } from './router.ts'
import type { Stage } from './stages.ts'
import { type OpenStep, type Result, type StepPlace, Trace } from './trace.ts'
import { fromTraceparent, newContext, type TraceContext, toTraceparent } from './trace-context.ts'
import type { TraceFilter, TraceItem, TraceSource } from './trace-item.ts'
import type { Tracer } from './tracer.ts'

/** Somebody who follows stanzas. */
export interface TraceObserver {
  /**
   * Whether it follows a stanza that begins. `context`: of the stanza that caused it, or of itself, if it
   * was followed before. `untold`: how many there are of which observers have to be told still.
   */
  wants(envelope: Envelope, context: TraceContext | undefined, untold: number): boolean
  /** Whether what it follows is exported. */
  readonly isExporting: boolean
  readonly withBodies: boolean
  take(item: TraceItem): void
}

type Parts = {
  readonly hooks: Hooks
  readonly router: Router
  /** This node's name in the cluster. */
  readonly node?: () => string | undefined
  /** What is not over yet is told of after this time, in milliseconds; a quarter of a second unless told. */
  readonly patience?: number
}

/** What goes on while something else does: whatever begins meanwhile is caused by it. */
type Frame = { readonly followed: Followed; readonly step: OpenStep | undefined }

type Followed = { readonly trace: Trace; readonly observers: readonly TraceObserver[] }

/** What a stanza causes later than this after its beginning, in milliseconds, counts as its own story. */
const CAUSE_LIMIT = 10_000
const PATIENCE = 250
const LOOK = 50
/** How long something may still happen to a stanza that is known here, in milliseconds. */
const LINGER = 60_000
const MAX_LIVE = 5_000

/**
 * Follows stanzas through the hooks and the chain of one node, for observers. While there are none, the
 * route has no tracer, and handlers and routing modules are called as they are.
 *
 * What belongs to a stanza is known by a note on its envelope, which travels with it: into the store, to
 * another node. What it causes (answers, copies, errors) is known by what is going on when that begins,
 * across everything asynchronous.
 */
export class Tracing implements Tracer, TraceSource {
  readonly #parts: Parts
  readonly #ambient = new AsyncLocalStorage<Frame | undefined>()
  /** By their notes, the oldest first. */
  readonly #live = new Map<string, Followed>()
  readonly #news = new Set<Followed>()
  #observers: readonly TraceObserver[] = []
  #isFlushing = false

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** Returns the undo. */
  observe(observer: TraceObserver): () => void {
    this.#observe([...this.#observers, observer])
    return () => this.#observe(this.#observers.filter((other) => other !== observer))
  }

  follow(filter: TraceFilter, take: (item: TraceItem) => void): () => void {
    const { jid, withBodies = false } = filter
    const wanted = jid === undefined ? undefined : tryParseJid(jid)
    const wants = ({ from, to }: Envelope) =>
      wanted === undefined || isWithin(from, wanted) || isWithin(to, wanted)
    return this.observe({ wants, isExporting: false, withBodies, take })
  }

  /** Tells the step that is going on as this. */
  remark(result: Result): void {
    const { followed, step } = this.#ambient.getStore() ?? {}
    if (step !== undefined) followed?.trace.remark(step, result)
  }

  /** Resolves when nothing is going on with what is followed, and that is told; after `limit` ms in any case. */
  async told(limit: number): Promise<void> {
    const start = performance.now()
    const isGoingOn = () => this.#live.values().some(({ trace }) => trace.isGoingOn)
    do await new Promise((resolve) => setTimeout(resolve, 1))
    while (isGoingOn() && performance.now() - start < limit)
    for (const followed of this.#news) this.#tellAll(followed)
    this.#news.clear()
  }

  #observe(observers: readonly TraceObserver[]): void {
    const wasOn = this.#observers.length > 0
    const isOn = observers.length > 0
    this.#observers = observers
    if (wasOn === isOn) return
    const tracer = isOn ? this : undefined
    this.#parts.hooks.traceWith(tracer)
    this.#parts.router.traceWith(tracer)
    if (isOn) return
    this.#live.clear()
    this.#news.clear()
  }

  // --- From the route.

  receive<T>(stage: Stage, envelope: Envelope, work: (envelope: Envelope) => T): T {
    return this.#ambient.run(undefined, () => this.#step(stage, envelope, work, undefined) as T)
  }

  pass<T>(stage: Stage, envelope: Envelope, work: (envelope: Envelope) => Maybe<T>, at?: Jid) {
    return this.#step<T>(stage, envelope, work as (envelope: Envelope) => T, at) as Maybe<T>
  }

  tell(envelope: Envelope, stage: Stage, what: 'queued' | 'written', at?: Jid): void {
    const followed = this.#find(envelope)
    if (followed === undefined) return
    const step = followed.trace.begin({
      place: stage.name,
      session: at?.full,
      within: this.#within(followed),
    })
    followed.trace.end(step, { verdict: what })
    this.#hasNews(followed)
  }

  link(cause: Envelope, effect: Envelope): Envelope {
    const followed = this.#find(cause)
    return followed === undefined ? effect : this.#begin(effect, followed)
  }

  settle(envelope: Envelope, outcome: Outcome): void {
    const followed = this.#find(envelope)
    if (followed === undefined) return
    followed.trace.settle(outcome)
    this.#hasNews(followed)
  }

  handler<N extends HookName>(entry: Entry<N>, handler: Handler<N>): Handler<N> {
    return (acc, params) => {
      const { envelope, session } = params as { envelope?: unknown; session?: { jid: Jid } }
      const subject = acc instanceof Envelope ? acc : envelope
      const followed = subject instanceof Envelope ? this.#find(subject) : this.#cause()
      if (followed === undefined) return this.#alone(() => handler(acc, params))
      const place = { place: entry.hook, by: entry.by, session: session?.jid.full }
      const step = followed.trace.begin({ ...place, within: this.#within(followed) })
      return this.#during(
        followed,
        step,
        () => handler(acc, params),
        (verdict) => {
          return resultOfHandler(acc, verdict)
        },
      )
    }
  }

  module(module: RoutingModule, stage: Stage): RoutingModule {
    const traced = <T>(place: 'filter' | 'route', envelope: Envelope, work: () => Maybe<T>) => {
      const followed = this.#find(envelope)
      if (followed === undefined) return this.#alone(work)
      const step = followed.trace.begin({ place, by: module.name, within: this.#within(followed) })
      const timed = place === 'route' ? stage : undefined
      return this.#during(followed, step, work, (value) => resultOfHandler(envelope, value), timed)
    }
    const { filter } = module
    return {
      name: module.name,
      route: (envelope) => traced('route', envelope, () => module.route(envelope)),
      ...(filter !== undefined && {
        filter: (envelope: Envelope) =>
          traced('filter', envelope, () => filter.call(module, envelope)),
      }),
    }
  }

  // --- What a stanza is part of.

  #step<T>(
    stage: Stage,
    received: Envelope,
    work: (envelope: Envelope) => T,
    at: Jid | undefined,
  ): T | Promise<Awaited<T>> {
    const envelope = this.#begin(received, this.#causeOf(received))
    const followed = this.#find(envelope)
    if (followed === undefined) return this.#alone(() => work(envelope))
    const place: StepPlace = {
      place: stage.name,
      session: at?.full,
      within: this.#within(followed),
    }
    const { trace } = followed
    const isDirect = envelope !== received && at !== undefined
    return this.#during(
      followed,
      trace.begin(place),
      () => work(envelope),
      (value) => {
        // Not everything that the server itself has to say is routed.
        if (isDirect && value === true) trace.settle(new Outcome('delivered', stage.name))
        return resultOfStage(value)
      },
      stage,
    )
  }

  /** Notes a stanza that somebody wants to follow; one that is followed already, as it is. */
  #begin(envelope: Envelope, cause: Followed | undefined): Envelope {
    if (envelope.notes.trace !== undefined) return envelope
    const current = new Set(this.#observers)
    const observers = this.#wanting(envelope, cause?.trace.context)
    for (const one of cause?.observers ?? []) {
      if (current.has(one) && !observers.includes(one)) observers.push(one)
    }
    if (observers.length === 0) return envelope
    const isSampled = observers.some(({ isExporting }) => isExporting)
    const context = newContext(cause?.trace.context, isSampled)
    const note = toTraceparent(context)
    this.#keep(note, this.#followed(context, envelope, observers, false))
    return envelope.noted({ trace: note })
  }

  #wanting(envelope: Envelope, context: TraceContext | undefined): TraceObserver[] {
    return this.#observers.filter((one) => one.wants(envelope, context, this.#news.size))
  }

  #followed(
    context: TraceContext,
    envelope: Envelope,
    observers: readonly TraceObserver[],
    isContinued: boolean,
  ): Followed {
    const withBodies = observers.some((observer) => observer.withBodies)
    return { trace: new Trace(context, envelope, { isContinued, withBodies }), observers }
  }

  #find(envelope: Envelope): Followed | undefined {
    const note = envelope.notes.trace
    if (note === undefined) return undefined
    return this.#live.get(note) ?? this.#continue(note, envelope)
  }

  /** It was followed before, or on another node. */
  #continue(note: string, envelope: Envelope): Followed | undefined {
    const context = fromTraceparent(note)
    if (context === undefined) return undefined
    const observers = this.#wanting(envelope, context)
    if (observers.length === 0) return undefined
    const followed = this.#followed(context, envelope, observers, true)
    this.#keep(note, followed)
    return followed
  }

  #keep(note: string, followed: Followed): void {
    this.#live.set(note, followed)
    const { startedAt } = followed.trace
    for (const [oldest, { trace }] of this.#live) {
      if (this.#live.size <= MAX_LIVE && startedAt - trace.startedAt < LINGER) break
      this.#live.delete(oldest)
    }
  }

  /** What is going on, if that is recent: what was opened then may go on for ever. */
  #cause(): Followed | undefined {
    const followed = this.#ambient.getStore()?.followed
    if (followed === undefined) return undefined
    return performance.now() - followed.trace.startedAt < CAUSE_LIMIT ? followed : undefined
  }

  #causeOf({ origin }: Envelope): Followed | undefined {
    return origin.kind === 's2s' || origin.kind === 'component' ? undefined : this.#cause()
  }

  #within(followed: Followed): OpenStep | undefined {
    const frame = this.#ambient.getStore()
    return frame?.followed === followed ? frame.step : undefined
  }

  /** Nothing is followed: what begins meanwhile is not caused by what happens to go on. */
  #alone<T>(work: () => T): T {
    return this.#ambient.getStore() === undefined ? work() : this.#ambient.run(undefined, work)
  }

  #during<T>(
    followed: Followed,
    step: OpenStep,
    work: () => T,
    resultOf: (value: Awaited<T>) => Result,
    stage?: Stage,
  ): T {
    const end = (result: Result) => {
      const took = followed.trace.end(step, result)
      if (stage !== undefined) {
        stage.timed++
        stage.milliseconds += took
      }
      this.#hasNews(followed)
    }
    let value: T
    try {
      value = this.#ambient.run({ followed, step }, work)
    } catch (error) {
      end(resultOfError(error))
      throw error
    }
    if (!(value instanceof Promise)) {
      end(resultOf(value as Awaited<T>))
      return value
    }
    return value.then(
      (later) => {
        end(resultOf(later))
        return later
      },
      (error) => {
        end(resultOfError(error))
        throw error
      },
    ) as T
  }

  // --- To the observers.

  #hasNews(followed: Followed): void {
    this.#news.add(followed)
    if (this.#isFlushing) return
    this.#isFlushing = true
    setImmediate(() => this.#flush())
  }

  /** What is over is told at once, together; the rest in a while, with what it waits for. */
  #flush(): void {
    this.#isFlushing = false
    const { patience = PATIENCE } = this.#parts
    const now = performance.now()
    for (const followed of this.#news) {
      const { trace } = followed
      if (!trace.isOver && now - trace.toldAt < patience) continue
      this.#news.delete(followed)
      this.#tellAll(followed)
    }
    if (this.#news.size === 0 || this.#isFlushing) return
    this.#isFlushing = true
    setTimeout(() => this.#flush(), LOOK).unref()
  }

  #tellAll({ trace, observers }: Followed): void {
    const item = trace.take(this.#parts.node?.())
    if (item === undefined) return
    const { xml: _, ...bare } = item.stanza
    const withoutBody = { ...item, stanza: bare }
    for (const observer of observers) {
      if (this.#observers.includes(observer)) {
        observer.take(observer.withBodies ? item : withoutBody)
      }
    }
  }
}

/** A domain has all its accounts, an account all its resources. */
function isWithin(jid: Jid, wanted: Jid): boolean {
  if (wanted.resource !== '') return jid.full === wanted.full
  return wanted.local === '' ? jid.domain === wanted.domain : jid.bare === wanted.bare
}

function resultOfHandler(acc: unknown, verdict: unknown): Result {
  if (verdict === DROP) return { verdict: 'dropped' }
  if (verdict instanceof Stop) {
    const { acc } = verdict
    return acc instanceof Outcome ? resultOfStage(acc) : { verdict: 'stopped', ...answer(acc) }
  }
  if (verdict === acc) return { verdict: 'passed' }
  if (verdict instanceof Outcome) return resultOfStage(verdict)
  if (acc instanceof Envelope && verdict instanceof Envelope) {
    return { verdict: verdict.stanza === acc.stanza ? 'passed' : 'changed' }
  }
  return { verdict: 'decided', ...answer(verdict) }
}

/** What is short enough to be told. */
function answer(value: unknown): { readonly detail?: string } {
  return typeof value === 'string' || typeof value === 'boolean' ? { detail: String(value) } : {}
}

function resultOfStage(value: unknown): Result {
  if (value instanceof Outcome) {
    const { fate, by, reason } = value
    return { verdict: 'settled', detail: `${fate} by ${by}${reason ? `: ${reason}` : ''}` }
  }
  if (value === true) return { verdict: 'taken' }
  return { verdict: value === false ? 'gone' : 'passed' }
}

function resultOfError(error: unknown): Result {
  if (!(error instanceof Error)) return { verdict: 'failed' }
  const { name, condition } = error as Error & { readonly condition?: string }
  return condition === undefined
    ? { verdict: 'failed', detail: name }
    : { verdict: 'refused', detail: condition }
}
