import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Envelope, SERVER } from '../../src/core/envelope.ts'
import { stop } from '../../src/core/hooks.ts'
import type { TraceFilter, TraceItem } from '../../src/core/trace-item.ts'
import { Tracing } from '../../src/core/tracing.ts'
import { parseJid } from '../../src/xmpp/jid.ts'
import { Stanza } from '../../src/xmpp/stanza.ts'
import { StanzaError } from '../../src/xmpp/stanza-error.ts'
import { el } from '../../src/xmpp/xml.ts'
import { type Core, DOMAIN, startCore } from '../support/core.ts'

const ROMEO = `romeo@${DOMAIN}`
const JULIET = `juliet@${DOMAIN}`

const chat = (id: string) => Stanza.build('message', { type: 'chat', id }, el('body', {}, 'hush'))

/** What is told about stanzas of a core. */
class Watch implements Disposable {
  readonly items: TraceItem[] = []
  readonly tracing: Tracing
  readonly #end: () => void
  #wake: (() => void) | undefined

  constructor(core: Core, filter: TraceFilter, tracing = new Tracing(core)) {
    this.tracing = tracing
    this.#end = tracing.follow(filter, (item) => {
      this.items.push(item)
      this.#wake?.()
    })
  }

  [Symbol.dispose](): void {
    this.#end()
  }

  /** The first that `test` accepts, once it is there. */
  async until(test: (item: TraceItem) => boolean): Promise<TraceItem> {
    for (let turn = 0; turn < 1_000; turn++) {
      const found = this.items.find(test)
      if (found !== undefined) return found
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    throw new Error('it was not told')
  }

  settled(id: string, from?: string): Promise<TraceItem> {
    return this.until(
      ({ stanza, outcome }) =>
        stanza.id === id && outcome !== null && (from === undefined || stanza.from === from),
    )
  }
}

const places = ({ steps }: TraceItem) =>
  steps.map(({ place, by, verdict }) => [place, by, verdict].filter((part) => part).join(' '))

test('each step of a stanza is told, with what it is part of, and its fate', async () => {
  await using core = await startCore({ accounts: ['romeo', 'juliet'] })
  const romeo = await core.connect('romeo')
  const juliet = await core.connect('juliet')
  core.hooks.on('filter_local_packet', (envelope) => envelope, { by: 'watcher', order: 60 })
  using watch = new Watch(core, { jid: ROMEO })

  await core.send(romeo, JULIET, chat('a'))

  const item = await watch.settled('a')
  assert.deepEqual(places(item), [
    'router settled',
    'route localdomain settled',
    'local_delivery settled',
    'filter_local_packet privacy passed',
    'filter_local_packet watcher passed',
    'session_manager settled',
  ])
  const names = new Map(item.steps.map(({ number, place }) => [number, place]))
  assert.deepEqual(
    item.steps.map(({ within }) => (within === null ? null : names.get(within))),
    [null, 'router', 'route', 'local_delivery', 'local_delivery', 'local_delivery'],
  )
  assert.deepEqual(item.outcome, {
    fate: 'delivered',
    by: 'sm',
    reason: null,
    sessions: [juliet.jid.full],
  })
  assert.deepEqual(item.stanza, {
    kind: 'message',
    type: 'chat',
    id: 'a',
    from: romeo.jid.full,
    to: JULIET,
    origin: 'c2s',
    children: ['body'],
    size: '<body>hush</body>'.length,
  })
  for (const { at, took } of item.steps) assert.ok(at >= 0 && took >= 0 && at + took < 60_000)
})

test('what a stanza causes is known to be caused by it, behind asynchronous handlers too', async () => {
  await using core = await startCore({ accounts: ['romeo', 'juliet'] })
  const romeo = await core.connect('romeo')
  await core.connect('juliet')
  core.hooks.on('filter_local_packet', async (envelope) => {
    await new Promise((resolve) => setImmediate(resolve))
    if (envelope.stanza.id !== 'a') return envelope
    await core.router.route(
      new Envelope(parseJid(DOMAIN), parseJid(JULIET), chat('notice'), SERVER),
    )
    throw new StanzaError('not-allowed')
  })
  using watch = new Watch(core, { jid: ROMEO })

  await core.send(romeo, JULIET, chat('a'))

  const cause = await watch.settled('a', romeo.jid.full)
  assert.deepEqual(
    [cause.outcome?.fate, cause.outcome?.by, cause.outcome?.reason],
    ['bounced', 'local_delivery', 'not-allowed'],
  )
  const told = cause.steps.find(({ place }) => place === 'filter_local_packet')
  assert.ok(told)
  const refused = cause.steps.filter(({ verdict }) => verdict === 'refused')
  assert.deepEqual(
    refused.map(({ place, detail }) => [place, detail]),
    [['filter_local_packet', 'not-allowed']],
  )
  for (const effect of [await watch.settled('notice'), await watch.settled('a', JULIET)]) {
    assert.deepEqual([effect.trace, effect.parent], [cause.trace, cause.span])
  }
})

test('stanzas that come one behind the other are no causes of one another', async () => {
  await using core = await startCore({ accounts: ['romeo', 'juliet'] })
  const romeo = await core.connect('romeo')
  await core.connect('juliet')
  using watch = new Watch(core, { jid: ROMEO })
  const stage = core.router.stages.c2sIn
  const send = (id: string, then?: () => void) => {
    const envelope = new Envelope(romeo.jid, parseJid(JULIET), chat(id), {
      kind: 'c2s',
      session: romeo,
    })
    watch.tracing.receive(stage, envelope, (followed) => {
      void core.router.route(followed)
      then?.()
    })
  }
  // As a connection that goes on reading when a stanza is done.
  send('a', () => send('b'))

  const [first, second] = [await watch.settled('a'), await watch.settled('b')]
  assert.notEqual(first.trace, second.trace)
  assert.equal(second.parent, null)
})

test('handlers that decide, change, stop, drop and fail are told apart', async () => {
  await using core = await startCore({ accounts: ['romeo', 'juliet'] })
  const romeo = await core.connect('romeo')
  const { hooks } = core
  const of = (id: string) => (envelope: Envelope) => envelope.stanza.id === id
  const handlers: Record<string, (envelope: Envelope) => unknown> = {
    change: (envelope) =>
      envelope.with({ stanza: envelope.stanza.append(el('x', { xmlns: 'x' })) }),
    stop: (envelope) => stop(envelope),
    fail: () => {
      throw new Error('private matters')
    },
  }
  for (const [id, handler] of Object.entries(handlers)) {
    const run = (envelope: Envelope) => (of(id)(envelope) ? handler(envelope) : envelope)
    hooks.on('filter_local_packet', run as never, { by: id, onError: 'skip' })
  }
  hooks.on('offline_message', (outcome) => outcome, { by: 'indifferent' })
  using watch = new Watch(core, { jid: JULIET })

  const steps = async (id: string) => {
    await core.send(romeo, JULIET, chat(id))
    return (await watch.settled(id, romeo.jid.full)).steps
  }
  for (const [id, verdict, detail] of [
    ['change', 'changed', null],
    ['stop', 'stopped', null],
    ['fail', 'failed', 'Error'],
  ] as const) {
    const step = (await steps(id)).find(({ by }) => by === id)
    assert.deepEqual([step?.verdict, step?.detail], [verdict, detail], id)
  }
  const asked = (await steps('other')).find(({ place }) => place === 'does_user_exist')
  assert.deepEqual([asked?.verdict, asked?.detail], ['decided', 'true'])
})

test('what waits is told while it waits, and again when it goes on', async () => {
  await using core = await startCore({ accounts: ['romeo', 'juliet'] })
  const romeo = await core.connect('romeo')
  await core.connect('juliet')
  const { promise, resolve } = Promise.withResolvers<void>()
  core.hooks.on('filter_local_packet', (envelope) => promise.then(() => envelope), { by: 'slow' })
  using watch = new Watch(core, { jid: ROMEO })

  const routed = core.send(romeo, JULIET, chat('a'))
  const before = await watch.until(({ steps }) =>
    steps.some(({ verdict }) => verdict === 'waiting'),
  )
  assert.deepEqual([before.outcome, before.isContinued], [null, false])
  assert.equal(before.steps.at(-1)?.by, 'slow')
  resolve()
  await routed
  const after = await watch.settled('a')
  assert.deepEqual([after.span, after.isContinued], [before.span, true])
  assert.equal(after.steps.find(({ by }) => by === 'slow')?.verdict, 'passed')
})

test('who asked for an account, a resource or a domain is told of no other', async () => {
  await using core = await startCore({ accounts: ['romeo', 'juliet'] })
  const romeo = await core.connect('romeo', 'garden')
  const juliet = await core.connect('juliet')
  const tracing = new Tracing(core)
  const seen: string[] = []
  const undo = ['im.example.com', ROMEO, `${ROMEO}/garden`, `${ROMEO}/away`, 'example.com'].map(
    (jid) => tracing.follow({ jid }, ({ stanza }) => seen.push(`${jid} ${stanza.id}`)),
  )
  using watch = new Watch(core, {}, tracing)

  await core.send(romeo, JULIET, chat('a'))
  await core.send(juliet, 'nurse@example.com', chat('b'))
  await watch.settled('a')
  await watch.settled('b')
  assert.deepEqual(seen.toSorted(), [
    'example.com b',
    'im.example.com a',
    'im.example.com b',
    `${ROMEO} a`,
    `${ROMEO}/garden a`,
  ])
  for (const end of undo) end()
})

test('payloads are told to who asked for them, without secrets', async () => {
  await using core = await startCore({ accounts: ['romeo', 'juliet'] })
  const romeo = await core.connect('romeo')
  await core.connect('juliet')
  using watch = new Watch(core, { jid: ROMEO })
  using curious = new Watch(core, { jid: ROMEO, withBodies: true }, watch.tracing)

  await core.send(romeo, JULIET, chat('a'))
  const password = el('password', { xmlns: 'jabber:iq:register' }, 'hunter2')
  await core.send(romeo, DOMAIN, Stanza.build('iq', { type: 'set', id: 'b' }, password))

  assert.equal((await curious.settled('a')).stanza.xml, '<body>hush</body>')
  await curious.settled('b', romeo.jid.full)
  await watch.settled('b', romeo.jid.full)
  assert.ok(!JSON.stringify(watch.items).includes('hush'))
  assert.ok(!JSON.stringify([watch.items, curious.items]).includes('hunter2'))
})

test('when nobody follows any more, handlers and routing modules are as they were', async () => {
  await using core = await startCore({ accounts: ['romeo', 'juliet'] })
  const romeo = await core.connect('romeo')
  const juliet = await core.connect('juliet')
  const handlers = () => core.hooks.all.map(({ handler }) => handler)
  const before = handlers()
  const watch = new Watch(core, { jid: ROMEO })
  const other = new Watch(core, { jid: JULIET }, watch.tracing)
  assert.ok(core.router.tracer === watch.tracing)
  assert.ok(handlers().every((handler, i) => handler !== before[i]))
  const undo = core.hooks.on('filter_local_packet', (envelope) => envelope, { by: 'late' })
  watch[Symbol.dispose]()
  await core.send(romeo, JULIET, chat('a'))
  const told = await other.settled('a')
  assert.ok(told.steps.some(({ by }) => by === 'late'))
  undo()
  other[Symbol.dispose]()

  assert.deepEqual([core.router.tracer, handlers()], [undefined, before])
  await core.send(romeo, JULIET, chat('b'))
  const { notes } = await juliet.receives(({ stanza }) => stanza.id === 'b')
  assert.equal(notes.trace, undefined)
})

test('stages count stanzas always, and times while somebody follows', async () => {
  await using core = await startCore({ accounts: ['romeo', 'juliet'] })
  const romeo = await core.connect('romeo')
  await core.connect('juliet')
  await core.send(romeo, JULIET, chat('a'))
  const of = (name: string) => {
    const stage = core.router.stages.all.find((one) => one.name === name)
    assert.ok(stage, name)
    const { stanzas, timed } = stage
    return [stanzas, timed]
  }
  const names = ['router', 'localdomain', 'local_delivery', 'session_manager']
  for (const name of names) assert.deepEqual(of(name), [1, 0], name)
  using watch = new Watch(core, { jid: ROMEO })
  await core.send(romeo, JULIET, chat('b'))
  await watch.settled('b')
  for (const name of names) assert.deepEqual(of(name), [2, 1], name)
  assert.deepEqual(of('elsewhere'), [0, 0])
})
