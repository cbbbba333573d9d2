import type { FullJid } from '../xmpp/jid.ts'
import { CLIENT_NS } from '../xmpp/stanza.ts'
import type { Envelope } from './envelope.ts'
import type { Outcome } from './outcome.ts'
import { withoutSecrets } from './redaction.ts'
import type { TraceContext } from './trace-context.ts'
import type {
  StepVerdict,
  TracedOutcome,
  TracedStanza,
  TraceItem,
  TraceStep,
} from './trace-item.ts'

export type Result = { readonly verdict: StepVerdict; readonly detail?: string | undefined }

/** One that has begun. */
export type OpenStep = Pick<TraceStep, 'number' | 'within' | 'place' | 'by' | 'session' | 'at'>

export type StepPlace = {
  readonly place: string
  readonly by?: string | undefined
  readonly session?: string | undefined
  readonly within: OpenStep | undefined
}

/** Steps of one stanza that are kept until they are told. */
const MAX_STEPS = 1_000

/** What happened to one stanza, as far as it is not told yet. Times are those of `performance`. */
export class Trace {
  readonly context: TraceContext
  readonly startedAt = performance.now()
  /** When something was told of it last. */
  toldAt = this.startedAt
  readonly #stanza: TracedStanza
  #steps = 0
  #isContinued: boolean
  readonly #open = new Set<OpenStep>()
  readonly #remarks = new Map<OpenStep, Result>()
  #done: TraceStep[] = []
  #isWaitingTold = false
  #outcome: Outcome | undefined
  #settledAt: number | undefined

  constructor(context: TraceContext, envelope: Envelope, options: TraceOptions) {
    this.context = context
    this.#isContinued = options.isContinued
    this.#stanza = tracedStanza(envelope, options.withBodies)
  }

  begin({ place, by, session, within }: StepPlace): OpenStep {
    const step = {
      number: this.#steps++,
      within: within?.number ?? null,
      place,
      by: by ?? null,
      session: session ?? null,
      at: this.#now,
    }
    this.#open.add(step)
    return step
  }

  /** What it is to be told as, whatever comes of it. */
  remark(step: OpenStep, result: Result): void {
    this.#remarks.set(step, result)
  }

  /** How long it took, milliseconds. */
  end(step: OpenStep, result: Result): number {
    const { verdict, detail } = this.#remarks.get(step) ?? result
    const took = this.#now - step.at
    this.#open.delete(step)
    this.#remarks.delete(step)
    if (this.#done.length < MAX_STEPS) {
      this.#done.push({ ...step, took, verdict, detail: detail ?? null })
    }
    return took
  }

  settle(outcome: Outcome): void {
    this.#outcome = outcome
    this.#settledAt = this.#now
  }

  /** Its fate is decided, and nothing is going on. */
  get isOver(): boolean {
    return this.#settledAt !== undefined && this.#open.size === 0
  }

  get isGoingOn(): boolean {
    return this.#open.size > 0
  }

  /** What was not told yet; `undefined` if that is nothing. */
  take(node: string | undefined): TraceItem | undefined {
    const hasNews =
      this.#done.length > 0 ||
      this.#outcome !== undefined ||
      (this.#open.size > 0 && !this.#isWaitingTold)
    if (!hasNews) return undefined
    const now = this.#now
    const waiting = Array.from(this.#open, (step) => ({
      ...step,
      took: now - step.at,
      verdict: 'waiting' as const,
      detail: null,
    }))
    const { trace, span, parent = null } = this.context
    const item = {
      trace,
      span,
      parent,
      node: node ?? null,
      isContinued: this.#isContinued,
      began: performance.timeOrigin + this.startedAt,
      took: this.#settledAt ?? now,
      stanza: this.#stanza,
      steps: [...this.#done, ...waiting].sort((a, b) => a.number - b.number),
      outcome: this.#outcome === undefined ? null : tracedOutcome(this.#outcome),
    }
    this.#done = []
    this.#outcome = undefined
    this.#isContinued = true
    this.#isWaitingTold = waiting.length > 0
    this.toldAt = performance.now()
    return item
  }

  get #now(): number {
    return performance.now() - this.startedAt
  }
}

type TraceOptions = { readonly isContinued: boolean; readonly withBodies: boolean }

function tracedOutcome({ fate, by, reason, sessions }: Outcome): TracedOutcome {
  return { fate, by, reason: reason ?? null, sessions: sessions.map((jid: FullJid) => jid.full) }
}

function tracedStanza({ from, to, stanza, origin }: Envelope, withBodies: boolean): TracedStanza {
  const { kind, type = null, id = null, children, payload } = stanza
  return {
    kind,
    type,
    id,
    from: from.full,
    to: to.full,
    origin: origin.kind,
    children: children.map(({ name, ns }) => (ns === CLIENT_NS ? name : `${name} ${ns}`)),
    size: payload.length,
    ...(withBodies && { xml: withoutSecrets(stanza) }),
  }
}
