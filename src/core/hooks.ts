import type { HookMap, HookName } from './hook-map.ts'
import type { Logger } from './log.ts'
import type { Maybe } from './maybe.ts'
import type { Tracer } from './tracer.ts'
import { UnderWay } from './under-way.ts'

export type { HookMap, HookName } from './hook-map.ts'

/** Verdict of a handler: nothing more happens to the stanza, and nobody is told. */
export const DROP: unique symbol = Symbol('drop')

/** Verdict of a handler: no later handler runs, and the caller goes by `acc`. */
export class Stop<Acc> {
  readonly acc: Acc
  constructor(acc: Acc) {
    this.acc = acc
  }
}

export function stop<Acc>(acc: Acc): Stop<Acc> {
  return new Stop(acc)
}

const REFUSALS: ReadonlySet<string> = new Set(['StanzaError', 'StreamError'])

function isRefusal(error: unknown): boolean {
  return error instanceof Error && REFUSALS.has(error.name)
}

export type Acc<N extends HookName> = HookMap[N]['acc']
export type Params<N extends HookName> = HookMap[N]['params']
export type Verdict<N extends HookName> = Acc<N> | Stop<Acc<N>> | typeof DROP
export type Handler<N extends HookName> = (
  acc: Acc<N>,
  params: Params<N>,
) => Verdict<N> | Promise<Verdict<N>>

/** What a run that collects or decides a value came to; `otherwise` if a handler dropped it. */
export function resultOf<A>(verdict: A | Stop<A> | typeof DROP, otherwise: A): A {
  if (verdict === DROP) return otherwise
  return verdict instanceof Stop ? verdict.acc : verdict
}

/** Whoever looks hooks up: `Hooks` itself, or what a module is given. */
export interface HookSource {
  at<N extends HookName>(name: N, domainType?: string): HookPoint<N>
}

/** What a handler would do: with what it would return, and what else, if anything. */
export type Explained<N extends HookName> = {
  readonly verdict: Verdict<N>
  readonly would?: string
}

export type HandlerOptions<N extends HookName = HookName> = {
  /** Lower runs first; equal orders run as registered. 1 to 100 by convention, 50 unless told. */
  readonly order?: number
  /**
   * What an exception does. `stop` (fail closed): the run ends with it and the caller refuses the
   * stanza, unless the hook tells what has happened already (`HookPoint.tell`). `skip`: it is logged and
   * the next handler gets what this one got. A `StanzaError` or `StreamError` is a refusal, not a
   * failure, and always ends the run.
   */
  readonly onError?: 'stop' | 'skip'
  /** Only for domains of these types; for all when absent. Global hooks run it in any case. */
  readonly scope?: DomainScope
  /** Among those of equal order, lower runs first; 0 unless told. */
  readonly rank?: number
  /** Who registers it, for counters, traces and logs. */
  readonly by?: string
  /**
   * How a dry run asks it. `pure`: it changes nothing and tells nobody (it may read, and ask other
   * hooks), so it is run. A function says what it would do, doing nothing of it. Without, it is not
   * asked: it is told that it would run, and the stanza passes it unchanged.
   */
  readonly explain?: 'pure' | ((acc: Acc<N>, params: Params<N>) => Maybe<Explained<N>>)
}

/** Calls a handler in another way. */
export type Asker = <N extends HookName>(entry: Entry<N>) => Handler<N>

/** Types of domains. Whoever changes what is in it says so (`Hooks.refresh`). */
export type DomainScope = { has(domainType: string): boolean }

/** One registered handler with its counters. */
export class Entry<N extends HookName = HookName> {
  readonly hook: N
  /** What is called: as registered, or that while somebody follows what it does or asks what it would do. */
  handler: Handler<N>
  readonly registered: Handler<N>
  readonly explain: HandlerOptions<N>['explain']
  #tracer: Tracer | undefined
  #asker: Asker | undefined
  readonly order: number
  readonly onError: 'stop' | 'skip'
  readonly scope: DomainScope | undefined
  readonly rank: number
  readonly by: string
  runs = 0
  failures = 0

  constructor(hook: N, handler: Handler<N>, options: HandlerOptions<N>) {
    this.hook = hook
    this.handler = handler
    this.registered = handler
    this.explain = options.explain
    this.order = options.order ?? 50
    this.onError = options.onError ?? 'stop'
    this.scope = options.scope
    this.rank = options.rank ?? 0
    this.by = options.by ?? (handler.name || 'anonymous')
  }

  traceWith(tracer: Tracer | undefined): void {
    this.#tracer = tracer
    this.#compose()
  }

  askWith(asker: Asker | undefined): void {
    this.#asker = asker
    this.#compose()
  }

  #compose(): void {
    const handler = this.#asker?.(this) ?? this.registered
    this.handler = this.#tracer?.handler(this, handler) ?? handler
  }
}

/**
 * A hook as one domain type sees it: the handlers in order, and the run over them. Held on to by
 * whoever runs the hook; registrations replace `entries` in one step, so a run under way keeps the
 * list it began with.
 */
export class HookPoint<N extends HookName> {
  readonly name: N
  readonly #log: Logger
  readonly #underWay: UnderWay
  entries: readonly Entry<N>[] = []
  /** Runs that met at least one handler. */
  runs = 0

  constructor(name: N, log: Logger, underWay: UnderWay) {
    this.name = name
    this.#log = log
    this.#underWay = underWay
  }

  get isEmpty(): boolean {
    return this.entries.length === 0
  }

  /**
   * Passes `acc` from handler to handler. Without handlers, `acc` comes back at no cost. The
   * result is a promise only if a handler returned one. Throws what a handler that fails closed
   * threw.
   */
  run(acc: Acc<N>, params: Params<N>): Verdict<N> | Promise<Verdict<N>> {
    const { entries } = this
    if (entries.length === 0) return acc
    this.runs++
    const verdict = this.#from(0, entries, acc, params)
    if (verdict instanceof Promise) this.#underWay.add(verdict)
    return verdict
  }

  /**
   * Runs it for what has happened, and cannot be undone: nobody waits for the handlers, and one that fails
   * changes nothing.
   */
  tell(acc: Acc<N>, params: Params<N>): void {
    if (this.entries.length === 0) return
    try {
      const told = this.run(acc, params)
      if (told instanceof Promise) this.#toldLater(told)
    } catch (error) {
      this.#refused(error)
    }
  }

  #toldLater(told: Promise<unknown>): void {
    told.catch((error) => this.#refused(error))
  }

  /** All other failures were logged where they happened. */
  #refused(error: unknown): void {
    if (isRefusal(error)) this.#log.error('hook_refused_in_vain', { hook: this.name, error })
  }

  #from(
    first: number,
    entries: readonly Entry<N>[],
    start: Acc<N>,
    params: Params<N>,
  ): Verdict<N> | Promise<Verdict<N>> {
    let acc = start
    for (let i = first; i < entries.length; i++) {
      const entry = entries[i] as Entry<N>
      entry.runs++
      let verdict: Verdict<N> | Promise<Verdict<N>>
      try {
        verdict = entry.handler(acc, params)
      } catch (error) {
        this.#failed(entry, error)
        continue
      }
      if (verdict instanceof Promise) return this.#wait(verdict, i, entries, acc, params)
      if (verdict === DROP || verdict instanceof Stop) return verdict
      acc = verdict as Acc<N>
    }
    return acc
  }

  async #wait(
    pending: Promise<Verdict<N>>,
    at: number,
    entries: readonly Entry<N>[],
    acc: Acc<N>,
    params: Params<N>,
  ): Promise<Verdict<N>> {
    let next = acc
    try {
      const verdict = await pending
      if (verdict === DROP || verdict instanceof Stop) return verdict
      next = verdict as Acc<N>
    } catch (error) {
      this.#failed(entries[at] as Entry<N>, error)
    }
    return this.#from(at + 1, entries, next, params)
  }

  /** Throws on, unless the handler may be skipped. */
  #failed(entry: Entry<N>, error: unknown): void {
    if (isRefusal(error)) throw error
    entry.failures++
    this.#log.error('hook_handler_failed', { hook: this.name, handler: entry.by, error })
    if (entry.onError === 'stop') throw error
  }
}

/**
 * The extension points of the route. Names, payloads and results are those of `HookMap`, so that
 * a misspelt hook, a wrong payload or a forgotten return does not compile; modules add hooks of
 * their own by declaration merging.
 */
export class Hooks {
  readonly #entries = new Map<HookName, Entry[]>()
  /** By their names, then by domain types. */
  readonly #points = new Map<HookName, Map<string, HookPoint<HookName>>>()
  readonly #log: Logger
  /** Runs that wait for a handler; those of iq handlers are counted here, too. */
  readonly underWay = new UnderWay()
  #tracer: Tracer | undefined
  #asker: Asker | undefined

  constructor(log: Logger) {
    this.#log = log
  }

  /** Has all handlers, those to come as well, tell what they do; with `undefined` no longer. */
  traceWith(tracer: Tracer | undefined): void {
    this.#tracer = tracer
    for (const entry of this.all) entry.traceWith(tracer)
  }

  /** Has all handlers called in another way; with `undefined` no longer. */
  askWith(asker: Asker | undefined): void {
    this.#asker = asker
    for (const entry of this.all) entry.askWith(asker)
  }

  /** Registers a handler. Returns the undo. */
  on<N extends HookName>(
    name: N,
    handler: Handler<N>,
    options: HandlerOptions<N> = {},
  ): () => void {
    const entry = new Entry(name, handler, options)
    entry.askWith(this.#asker)
    entry.traceWith(this.#tracer)
    const inOrder = [...(this.#entries.get(name) ?? []), entry as unknown as Entry]
    this.#entries.set(
      name,
      inOrder.sort((a, b) => a.order - b.order || a.rank - b.rank),
    )
    this.#refresh(name)
    return () => {
      const others = (this.#entries.get(name) ?? []).filter(
        (other) => other !== (entry as unknown as Entry),
      )
      this.#entries.set(name, others)
      this.#refresh(name)
    }
  }

  /** The hook for domains of `domainType`; for global hooks, without one. Always the same object. */
  at<N extends HookName>(name: N, domainType = ''): HookPoint<N> {
    const point = this.#points.get(name)?.get(domainType) ?? this.#make(name, domainType)
    return point as unknown as HookPoint<N>
  }

  #make(name: HookName, domainType: string): HookPoint<HookName> {
    let points = this.#points.get(name)
    if (points === undefined) {
      points = new Map()
      this.#points.set(name, points)
    }
    const point = new HookPoint<HookName>(name, this.#log, this.underWay)
    points.set(domainType, point)
    this.#refresh(name)
    return point
  }

  /** The hook as those see it that were registered with this very scope. */
  of<N extends HookName>(name: N, scope: DomainScope): HookPoint<N> {
    const point = new HookPoint(name, this.#log, this.underWay)
    const all = (this.#entries.get(name) ?? []) as unknown as readonly Entry<N>[]
    point.entries = all.filter((entry) => entry.scope === scope)
    return point
  }

  /** Every registered handler, for the administrator's eyes. */
  get all(): Entry[] {
    return [...this.#entries.values()].flat()
  }

  /** To be called when a scope has changed: each point looks anew for its handlers. */
  refresh(): void {
    for (const name of this.#entries.keys()) this.#refresh(name)
  }

  #refresh(name: HookName): void {
    const all = this.#entries.get(name) ?? []
    for (const [domainType, point] of this.#points.get(name) ?? []) {
      point.entries = all.filter(
        ({ scope }) => scope === undefined || domainType === '' || scope.has(domainType),
      )
    }
  }
}
