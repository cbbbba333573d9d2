/**
 * Spans for OpenTelemetry: one for each followed stanza, with one inside for each step. They are made
 * from what the tracer tells, so that nobody who handles a stanza knows of them, and have its ids.
 */
import {
  DiagLogLevel,
  diag,
  type HrTime,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
} from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { BatchSpanProcessor, type ReadableSpan } from '@opentelemetry/sdk-trace'
import type { Envelope } from '../core/envelope.ts'
import type { Logger } from '../core/log.ts'
import { SOFTWARE } from '../core/software.ts'
import type { TraceContext } from '../core/trace-context.ts'
import type { TracedOutcome, TraceItem, TraceStep } from '../core/trace-item.ts'
import type { TraceObserver } from '../core/tracing.ts'

export type OtlpSettings = {
  /** Where spans are sent. */
  readonly url: string
  /** Of how many of the stanzas that come in, 0 to 1. */
  readonly ratio: number
  readonly serviceName: string
  /** Name of this node. */
  readonly node: string | undefined
  readonly log: Logger
  /** How long spans wait for others to be sent with them, milliseconds. */
  readonly delay?: number
}

/** Stanzas whose fate is not decided yet. */
const MAX_UNDECIDED = 5_000
/** So many that are followed and not told of yet: who has to catch up with them does nothing else. */
const MAX_UNTOLD = 2_000
const MAX_QUEUED = 8_192
const DELAY = 2_000
/** For one attempt to send, with its repetitions, milliseconds. */
const PATIENCE = 5_000
/** What a server that stops waits for the last of them, milliseconds. */
const CLOSING = 2_000
/** Between two words of the same trouble, milliseconds. */
const SILENCE = 60_000
/** Odd, so that no two numbers below 2^32 come to the same. */
const SPREAD = 0x9e3779b1
const SCOPE = { name: 'meerkat', version: SOFTWARE.version }

type Parts = Pick<ReadableSpan, 'name' | 'attributes'> & {
  readonly context: SpanContext
  readonly parent: SpanContext | undefined
  readonly kind: SpanKind
  /** Milliseconds since the epoch. */
  readonly began: number
  readonly took: number
  readonly hasFailed: boolean
}

export class OtlpSpans implements TraceObserver {
  readonly isExporting = true
  readonly withBodies = false
  readonly #ratio: number
  readonly #processor: BatchSpanProcessor
  readonly #resource: ReadableSpan['resource']
  /** The ids of stanzas whose spans are still to come, the oldest first. */
  readonly #undecided = new Set<string>()

  constructor({ url, ratio, serviceName, node, log, delay = DELAY }: OtlpSettings) {
    logFailures(log)
    this.#ratio = ratio
    this.#resource = resourceFromAttributes({
      'service.name': serviceName,
      'service.version': SOFTWARE.version,
      ...(node !== undefined && { 'service.instance.id': node }),
    })
    this.#processor = new BatchSpanProcessor({
      exporter: new OTLPTraceExporter({ url, timeoutMillis: PATIENCE }),
      maxQueueSize: MAX_QUEUED,
      scheduledDelayMillis: delay,
    })
  }

  /** What comes in is chosen at random; what it causes, and what continues, goes with that. */
  wants(envelope: Envelope, context: TraceContext | undefined, untold: number): boolean {
    if (!this.#chooses(envelope, context)) return false
    if (untold < MAX_UNTOLD) return true
    diag.error('more stanzas at once than can be followed')
    return false
  }

  #chooses({ origin }: Envelope, context: TraceContext | undefined): boolean {
    if (context !== undefined) return context.isSampled
    const isFromOutside = origin.kind !== 'server' && origin.kind !== 'admin'
    return isFromOutside && Math.random() < this.#ratio
  }

  take(item: TraceItem): void {
    const context = contextOf(item.trace, item.span)
    const stepId = stepIds(item)
    for (const step of item.steps) {
      // It will be told again.
      if (step.verdict !== 'waiting') this.#end(stepSpan(step, item, context, stepId))
    }
    const isNew = !item.isContinued
    if (item.outcome === null) {
      if (isNew) this.#remember(item.span)
    } else if (this.#undecided.delete(item.span) || isNew) {
      this.#end(stanzaSpan(item, item.outcome, context))
    }
  }

  /** Sends what waits, if that can be had in a moment. */
  async close(): Promise<void> {
    const late = Promise.withResolvers<void>()
    const timer = setTimeout(late.resolve, CLOSING)
    const sent = this.#processor.shutdown().catch((error) => diag.error(String(error)))
    await Promise.race([sent, late.promise])
    clearTimeout(timer)
  }

  #remember(span: string): void {
    this.#undecided.add(span)
    for (const oldest of this.#undecided) {
      if (this.#undecided.size <= MAX_UNDECIDED) break
      this.#undecided.delete(oldest)
    }
  }

  #end({ name, attributes, context, parent, kind, began, took, hasFailed }: Parts): void {
    this.#processor.onEnd({
      name,
      kind,
      attributes,
      spanContext: () => context,
      ...(parent !== undefined && { parentSpanContext: parent }),
      startTime: hrTime(began),
      endTime: hrTime(began + took),
      duration: hrTime(took),
      status: { code: hasFailed ? SpanStatusCode.ERROR : SpanStatusCode.UNSET },
      ended: true,
      links: [],
      events: [],
      resource: this.#resource,
      instrumentationScope: SCOPE,
      droppedAttributesCount: 0,
      droppedEventsCount: 0,
      droppedLinksCount: 0,
    })
  }
}

/** The library's own log is one for the process. A collector that is away is told of now and then. */
function logFailures(log: Logger): void {
  let toldAt = Number.NEGATIVE_INFINITY
  const error = (reason: string) => {
    if (performance.now() - toldAt < SILENCE) return
    toldAt = performance.now()
    log.warn('spans_not_exported', { reason: reason.slice(0, 500) })
  }
  const none = () => {}
  const logger = { error, warn: none, info: none, debug: none, verbose: none }
  diag.setLogger(logger, { logLevel: DiagLogLevel.ERROR, suppressOverrideMessage: true })
}

function stanzaSpan(item: TraceItem, outcome: TracedOutcome, context: SpanContext): Parts {
  const { kind, type, from, to, origin, size } = item.stanza
  const { fate, by, reason, sessions } = outcome
  return {
    name: type === null ? kind : `${kind} ${type}`,
    // Whom people write to is theirs: domains are enough to see where it went.
    attributes: {
      'xmpp.stanza.kind': kind,
      ...(type !== null && { 'xmpp.stanza.type': type }),
      'xmpp.stanza.size': size,
      'xmpp.from.domain': domainOf(from),
      'xmpp.to.domain': domainOf(to),
      'meerkat.origin': origin,
      'meerkat.fate': fate,
      'meerkat.fate.by': by,
      ...(reason !== null && { 'meerkat.fate.reason': reason }),
      'meerkat.fate.sessions': sessions.length,
    },
    context,
    parent: item.parent === null ? undefined : contextOf(item.trace, item.parent),
    kind: item.parent === null && origin !== 'server' ? SpanKind.SERVER : SpanKind.INTERNAL,
    began: item.began,
    took: item.took,
    hasFailed: false,
  }
}

function stepSpan(
  step: TraceStep,
  item: TraceItem,
  stanza: SpanContext,
  stepId: (number: number) => string,
): Parts {
  const { place, by, verdict, detail, within } = step
  const idOf = (number: number) => contextOf(item.trace, stepId(number))
  return {
    name: by === null ? place : `${place} ${by}`,
    attributes: {
      'meerkat.place': place,
      ...(by !== null && { 'meerkat.by': by }),
      'meerkat.verdict': verdict,
      ...(detail !== null && { 'meerkat.detail': detail }),
    },
    context: idOf(step.number),
    parent: within === null ? stanza : idOf(within),
    kind: SpanKind.INTERNAL,
    began: item.began + step.at,
    took: step.took,
    hasFailed: verdict === 'failed',
  }
}

function contextOf(traceId: string, spanId: string): SpanContext {
  return { traceId, spanId, traceFlags: TraceFlags.SAMPLED }
}

/**
 * Ids of a stanza's steps by their numbers: the same each time, so that steps told later find the ones they are
 * part of, and others for what the same stanza comes through at another node, where it began at another time.
 */
function stepIds({ span, began }: TraceItem): (number: number) => string {
  const microseconds = began * 1_000
  const high = hexOf(Number.parseInt(span.slice(0, 8), 16) ^ microseconds)
  const low = Number.parseInt(span.slice(8), 16)
  return (number) => high + hexOf(low + Math.imul(number, SPREAD))
}

/** Of the lowest 32 bits. */
function hexOf(value: number): string {
  return (value >>> 0).toString(16).padStart(8, '0')
}

function domainOf(address: string): string {
  const [account = ''] = address.split('/', 1)
  return account.slice(account.indexOf('@') + 1)
}

function hrTime(ms: number): HrTime {
  const seconds = Math.trunc(ms / 1_000)
  return [seconds, Math.round((ms - seconds * 1_000) * 1_000_000)]
}
