import assert from 'node:assert/strict'
import { createServer, type Server as HttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { Envelope } from '../../src/core/envelope.ts'
import { silentLogger } from '../../src/core/log.ts'
import type { TraceItem } from '../../src/core/trace-item.ts'
import { OtlpSpans } from '../../src/tracing/otlp.ts'
import { jid } from '../../src/xmpp/jid.ts'
import { Stanza } from '../../src/xmpp/stanza.ts'
import { startServer } from '../support/server.ts'
import { chat } from '../support/stanzas.ts'

const ROMEO = jid('romeo', 'im.example.com')
const JULIET = jid('juliet', 'im.example.com')

type Value = { readonly stringValue?: string; readonly intValue?: number }
type Span = {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  readonly startTimeUnixNano: string
  readonly endTimeUnixNano: string
  readonly attributes: readonly { readonly key: string; readonly value: Value }[]
}

/** What takes spans, as a collector does (OTLP 1.x over HTTP, JSON). */
class Collector implements AsyncDisposable {
  readonly spans: Span[] = []
  readonly resources: unknown[] = []
  readonly #server: HttpServer
  #wake = () => {}

  private constructor() {
    this.#server = createServer(async (request, response) => {
      const body = JSON.parse(await text(request))
      for (const { resource, scopeSpans } of body.resourceSpans) {
        this.resources.push(resource.attributes)
        for (const { spans } of scopeSpans) this.spans.push(...spans)
      }
      response.setHeader('content-type', 'application/json').end('{}')
      this.#wake()
    })
  }

  static async start(): Promise<Collector> {
    const collector = new Collector()
    const server = collector.#server
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return collector
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1/traces`
  }

  async until(test: (span: Span) => boolean): Promise<Span> {
    for (let turn = 0; turn < 1_000; turn++) {
      const found = this.spans.find(test)
      if (found !== undefined) return found
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    throw new Error('no such span came')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

const attributeOf = ({ attributes }: Span, name: string) => {
  const { value } = attributes.find(({ key }) => key === name) ?? {}
  return value?.stringValue ?? value?.intValue
}

test('each stanza is a span, with one inside for each step and its fate', async () => {
  await using collector = await Collector.start()
  const tracing = { otlp: collector.url, ratio: 1, service_name: 'chat' }
  await using server = await startServer({ tracing })
  const romeo = await server.connect('romeo', 'garden')
  const juliet = await server.connect('juliet', 'balcony')
  romeo.send(chat(juliet.bareJid, 'Art thou not Romeo?'))
  await juliet.receives({ body: 'Art thou not Romeo?' })
  romeo.send(chat(`nobody@${server.domain}`, 'Is anybody there?'))
  await romeo.receives({ type: 'error' })
  // What waits to be sent leaves before the server does.
  await server.stop()

  const message = await collector.until(
    (span) => span.name === 'message chat' && attributeOf(span, 'meerkat.fate') === 'delivered',
  )
  assert.deepEqual(
    ['by', 'sessions'].map((name) => attributeOf(message, `meerkat.fate.${name}`)),
    ['sm', 1],
  )
  assert.equal(message.parentSpanId ?? '', '')
  assert.ok(BigInt(message.endTimeUnixNano) >= BigInt(message.startTimeUnixNano))
  const own = collector.spans.filter(({ traceId }) => traceId === message.traceId)
  const byId = new Map(own.map((span) => [span.spanId, span]))
  const written = own.find((span) => attributeOf(span, 'meerkat.verdict') === 'written')
  const way: string[] = []
  for (let span = written; span; span = byId.get(span.parentSpanId ?? '')) way.push(span.name)
  assert.deepEqual(way.reverse(), [
    'message chat',
    'c2s_in',
    'router',
    'route localdomain',
    'local_delivery',
    'session_manager',
    'c2s_out',
    'c2s_out',
  ])

  const bounced = await collector.until((span) => attributeOf(span, 'meerkat.fate') === 'bounced')
  assert.equal(attributeOf(bounced, 'meerkat.fate.reason'), 'service-unavailable')
  const error = await collector.until(({ name }) => name === 'message error')
  assert.deepEqual([error.traceId, error.parentSpanId], [bounced.traceId, bounced.spanId])

  assert.ok(JSON.stringify(collector.resources).includes('"chat"'))
  const all = JSON.stringify(collector.spans)
  for (const secret of ['romeo', 'juliet', 'Art thou']) assert.ok(!all.includes(secret), secret)
})

test('a span of what is under way comes though something else is reloaded meanwhile', async () => {
  await using collector = await Collector.start()
  const tracing = { otlp: collector.url, ratio: 1 }
  await using server = await startServer({ tracing })
  const romeo = await server.connect('romeo', 'garden')
  const juliet = await server.connect('juliet', 'balcony')
  const { promise, resolve } = Promise.withResolvers<void>()
  const waiting = Promise.withResolvers<void>()
  server.server.tracing.follow({ jid: juliet.bareJid }, ({ outcome }) => {
    if (outcome === null) waiting.resolve()
  })
  server.server.hooks.on('filter_local_packet', (envelope) => promise.then(() => envelope))
  romeo.send(chat(juliet.bareJid, 'Art thou not Romeo?'))
  await waiting.promise
  await server.reload({ tracing, modules: { announcements: false } })
  resolve()
  await juliet.receives({ body: 'Art thou not Romeo?' })
  await server.stop()
  await collector.until(
    (span) => span.name === 'message chat' && attributeOf(span, 'meerkat.fate') === 'delivered',
  )
})

test('of what is not chosen, nothing is sent', async () => {
  await using collector = await Collector.start()
  await using server = await startServer({ tracing: { otlp: collector.url, ratio: 0 } })
  const romeo = await server.connect('romeo', 'garden')
  romeo.send(chat(romeo.bareJid, 'to myself'))
  await romeo.receives({ body: 'to myself' })
  await server.stop()
  assert.deepEqual(collector.spans, [])
})

test('each step has an id of its own, at whichever node and however often it is told', async () => {
  await using collector = await Collector.start()
  const log = silentLogger
  const settings = { url: collector.url, ratio: 1, serviceName: 'chat', node: undefined, log }
  const spans = new OtlpSpans(settings)
  const step = { by: null, session: null, at: 0, took: 0, detail: null, place: 'route' }
  const item = (began: number, numbers: readonly number[]): TraceItem => ({
    ...{ trace: '0af7651916cd43dd8448eb211c80319c', span: 'b7ad6b71fffffffe', parent: null },
    ...{ node: null, isContinued: true, began, took: 1, outcome: null },
    stanza: {
      kind: 'message',
      type: null,
      id: null,
      origin: 'c2s',
      from: '',
      to: '',
      size: 0,
      children: [],
    },
    steps: numbers.map((number) => ({ ...step, number, within: 0, verdict: 'passed' })),
  })
  const numbers = Array.from({ length: 100 }, (_, number) => number)
  for (const began of [1_800_000_000_000, 1_800_000_000_000.001]) {
    spans.take(item(began, numbers))
    spans.take(item(began, [7]))
  }
  await spans.close()
  const ids = collector.spans.map(({ spanId }) => spanId)
  assert.equal(ids.length, 202)
  assert.equal(new Set(ids).size, 200)
  for (const id of ids) assert.match(id, /^[0-9a-f]{16}$/)
  assert.equal(collector.spans[7]?.spanId, collector.spans[100]?.spanId)
  assert.equal(collector.spans[7]?.parentSpanId, collector.spans[0]?.spanId)
})

test('stanzas are not followed while too many wait to be told of', async () => {
  const told: string[] = []
  const log = { ...silentLogger, warn: (event: string) => void told.push(event) }
  const url = 'http://127.0.0.1:1/v1/traces'
  const spans = new OtlpSpans({ url, ratio: 1, serviceName: 'chat', node: undefined, log })
  const envelope = new Envelope(JULIET, ROMEO, Stanza.build('message', {}), {
    kind: 'component',
    domain: 'rooms.example.com',
  })
  assert.equal(spans.wants(envelope, undefined, 1_999), true)
  assert.deepEqual(told, [])
  assert.equal(spans.wants(envelope, undefined, 2_000), false)
  assert.equal(spans.wants(envelope, undefined, 3_000), false)
  assert.deepEqual(told, ['spans_not_exported'])
  await spans.close()
})

test('a collector that is away changes nothing but the log', async () => {
  const events: string[] = []
  const log = { ...silentLogger, warn: (event: string) => void events.push(event) }
  await using server = await startServer({
    tracing: { otlp: 'http://127.0.0.1:1/v1/traces', ratio: 1 },
    log,
  })
  const romeo = await server.connect('romeo', 'garden')
  romeo.send(chat(romeo.bareJid, 'to myself'))
  await romeo.receives({ body: 'to myself' })
  await server.stop()
  for (let turn = 0; !events.includes('spans_not_exported') && turn < 1_000; turn++) {
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  assert.deepEqual(
    events.filter((event) => event === 'spans_not_exported'),
    ['spans_not_exported'],
  )
})
