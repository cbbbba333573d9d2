import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { test } from 'node:test'
import type { Logger } from '../../src/core/log.ts'
import { silentLogger } from '../../src/core/log.ts'
import { dropped } from '../../src/core/outcome.ts'
import { parseJid } from '../../src/xmpp/jid.ts'
import { StanzaError } from '../../src/xmpp/stanza-error.ts'
import { StreamError } from '../../src/xmpp/stream-error.ts'
import { el } from '../../src/xmpp/xml.ts'
import { conditionOf } from '../support/client.ts'
import { DOMAIN, startServer } from '../support/server.ts'
import { chat, iq, message, presence } from '../support/stanzas.ts'

const STANZA_ERROR_NS = 'urn:ietf:params:xml:ns:xmpp-stanzas'
const NOBODY = `nobody@${DOMAIN}`
const QUESTION = el('query', { xmlns: 'urn:example:question' })
const ERROR = el('error', { type: 'cancel' }, el('item-not-found', { xmlns: STANZA_ERROR_NS }))

// --- The shape of an error (RFC 6120 §8.3).

test('an error is what was sent, turned around, with the error behind it', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  const payload = el('x', { xmlns: 'urn:example:x' }, 'kept')

  romeo.send(el('message', { id: 'm1', type: 'chat', to: NOBODY, 'xml:lang': 'it' }, payload))
  const error = await romeo.receivesNext({ name: 'message', id: 'm1', type: 'error' })

  assert.equal(error.attr('from'), NOBODY)
  assert.equal(error.attr('to'), romeo.fullJid)
  assert.equal(error.attr('xml:lang'), 'it')
  const [first, second, ...others] = error.elements()
  assert.equal(String(first), String(payload))
  assert.equal(second?.name, 'error')
  assert.equal(second?.attr('type'), 'cancel')
  assert.deepEqual(
    second?.elements().map(({ name, ns }) => `${ns} ${name}`),
    [`${STANZA_ERROR_NS} service-unavailable`],
  )
  assert.deepEqual(others, [])
})

test('an error that a handler throws reaches the sender as it is', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  server.server.hooks.on('user_send_message', () => {
    throw new StanzaError('policy-violation', {
      type: 'wait',
      text: 'Ruhe <bitte> & überall',
      detail: el('quiet-hours', { xmlns: 'urn:example:quiet' }),
    })
  })

  romeo.send(chat(NOBODY, 'hello'))
  const answer = await romeo.receivesNext({ error: 'policy-violation', errorType: 'wait' })

  const error = answer.child('error')
  assert.equal(error?.child('text', STANZA_ERROR_NS)?.text, 'Ruhe <bitte> & überall')
  assert.ok(error?.child('quiet-hours', 'urn:example:quiet'))
})

// --- What is never answered with an error.

const NEVER = [
  message('error', NOBODY, undefined, ERROR),
  message('error', undefined, undefined, ERROR),
  iq('result', NOBODY),
  iq('error', NOBODY, QUESTION, ERROR),
  iq('result', DOMAIN),
  iq('error', `${DOMAIN}/resource`, ERROR),
  message('error', `${DOMAIN}/resource`, undefined, ERROR),
  presence(undefined, NOBODY),
  presence('unavailable', `${NOBODY}/gone`),
  presence('error', NOBODY, ERROR),
  presence(undefined, `${DOMAIN}/resource`),
  presence(undefined, 'somewhere.example'),
  message('chat', DOMAIN, 'to nobody in particular'),
  message(
    'chat',
    NOBODY,
    undefined,
    el('sent', { xmlns: 'urn:xmpp:carbons:2' }, el('forwarded', { xmlns: 'urn:xmpp:forward:0' })),
  ),
]

for (const stanza of NEVER) {
  const { name } = stanza
  const type = stanza.attr('type') ?? 'no type'
  const to = stanza.attr('to') ?? 'the own account'
  const child = stanza.elements()[0]?.name ?? 'nothing'
  test(`no error answers ${name} (${type}) with ${child} to ${to}`, async () => {
    await using server = await startServer()
    const romeo = await server.connect('romeo')

    romeo.send(stanza)

    await romeo.receivesNothing()
  })
}

test('an error never answers an error, even if the way of the first one fails', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  let errors = 0
  server.server.hooks.on('filter_packet', (envelope) => {
    if (!envelope.stanza.isError) return envelope
    errors++
    throw new Error('nothing works')
  })

  romeo.send(chat(NOBODY, 'hello'))

  await romeo.receivesNothing()
  assert.equal(errors, 1)
})

// --- Requests (RFC 6120 §8.2.3).

test('each request gets one answer: from its handler, or an error', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  const { iq: dispatcher } = server.server
  const NS = 'urn:example:answers'
  dispatcher.on('server', 'get', NS, 'nothing', () => undefined)
  dispatcher.on('server', 'get', NS, 'something', () => el('something', { xmlns: NS }, 'found'))
  dispatcher.on('server', 'get', NS, 'soon', async () => el('soon', { xmlns: NS }))
  dispatcher.on('server', 'get', NS, 'refused', () => {
    throw new StanzaError('forbidden')
  })
  dispatcher.on('server', 'get', NS, 'refused-soon', async () => {
    throw new StanzaError('forbidden')
  })
  dispatcher.on('server', 'get', NS, 'broken', () => {
    throw new TypeError('a secret')
  })
  dispatcher.on('server', 'get', NS, 'broken-soon', async () => {
    throw new TypeError('a secret')
  })
  const ask = (name: string, type: 'get' | 'set' = 'get', to = DOMAIN) =>
    romeo.ask(type, to, el(name, { xmlns: NS }))

  assert.deepEqual((await ask('nothing')).elements(), [])
  assert.equal((await ask('something')).child('something', NS)?.text, 'found')
  assert.ok((await ask('soon')).child('soon', NS))
  assert.equal(conditionOf(await ask('refused')), 'forbidden')
  assert.equal(conditionOf(await ask('refused-soon')), 'forbidden')
  for (const name of ['broken', 'broken-soon']) {
    const answer = await ask(name)
    assert.equal(conditionOf(answer), 'internal-server-error')
    assert.doesNotMatch(String(answer), /secret/)
  }
  assert.equal(conditionOf(await ask('nothing', 'set')), 'feature-not-implemented')
  assert.equal(conditionOf(await ask('unknown')), 'service-unavailable')
  assert.equal(conditionOf(await ask('nothing', 'get', romeo.bareJid)), 'service-unavailable')
  assert.equal(conditionOf(await ask('nothing', 'get', `${DOMAIN}/x`)), 'item-not-found')
  await romeo.receivesNothing()
})

test('a message to a resource of the server finds nobody', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')

  romeo.send(chat(`${DOMAIN}/anybody`, 'hello?'))

  await romeo.receivesNext({ name: 'message', error: 'item-not-found' })
})

test('the server’s own requests are answered by whoever was asked, and by nobody else', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  const mercutio = await server.connect('mercutio')
  const { iq: dispatcher } = server.server
  const { jid } = server.sessionOf(romeo)
  const domain = parseJid(DOMAIN)

  const answer = dispatcher.request(domain, jid, 'get', QUESTION)
  const request = await romeo.receivesNext({ name: 'iq', type: 'get', from: DOMAIN })
  const id = request.attr('id')
  mercutio.send(el('iq', { type: 'result', id, to: DOMAIN }, el('forged')))
  await mercutio.roundTrip()
  romeo.send(el('iq', { type: 'result', id, to: DOMAIN }, QUESTION))
  assert.equal((await answer)?.name, 'query')

  const refused = dispatcher.request(domain, jid, 'get', QUESTION)
  const second = await romeo.receivesNext({ name: 'iq', type: 'get' })
  romeo.send(el('iq', { type: 'error', id: second.attr('id'), to: DOMAIN }, ERROR))
  await assert.rejects(refused, { name: 'StanzaError', condition: 'item-not-found' })

  const gone = dispatcher.request(parseJid(DOMAIN), jid.withResource('gone'), 'get', QUESTION)
  await assert.rejects(gone, { name: 'StanzaError', condition: 'service-unavailable' })
})

// --- The router.

test('what no routing module takes comes back, to be tried again', async () => {
  await using server = await startServer({ routing: ['global'] })
  const romeo = await server.connect('romeo', 'orchard', { priority: undefined })
  const fates: string[] = []
  server.server.hooks.on('message_routed', (outcome, { envelope }) => {
    fates.push(`${envelope.stanza.kind} ${outcome.fate} ${outcome.by} ${outcome.reason}`)
    return outcome
  })

  romeo.send(chat(NOBODY, 'hello'))
  await romeo.leaves()

  // The error finds no way either.
  assert.deepEqual(fates, [
    'message dropped router internal-server-error',
    'message bounced router internal-server-error',
  ])
})

for (const where of ['route', 'filter'] as const) {
  for (const when of ['at once', 'later'] as const) {
    test(`a routing module that fails in ${where} ${when} loses nothing`, async () => {
      const errors: unknown[] = []
      const log: Logger = {
        ...silentLogger,
        error: (event, fields) => void errors.push(`${event}: ${fields?.error}`),
      }
      const fail = (): never => {
        throw new Error('a secret')
      }
      const failure = when === 'at once' ? fail : async () => fail()
      await using server = await startServer({
        log,
        routing: [
          () => ({
            name: 'flaky',
            ...(where === 'filter' && {
              filter: (envelope) =>
                envelope.stanza.child('body')?.text === 'x' ? failure() : envelope,
            }),
            route: (envelope) =>
              where === 'route' &&
              envelope.stanza.child('body')?.text === 'x' &&
              !envelope.stanza.isError
                ? failure()
                : envelope,
          }),
          'localdomain',
        ],
      })
      const romeo = await server.connect('romeo')
      const juliet = await server.connect('juliet')

      romeo.send(chat(juliet.fullJid, 'x'))
      if (where === 'route') {
        const answer = await romeo.receivesNext({
          error: 'internal-server-error',
          errorType: 'wait',
          from: juliet.fullJid,
        })
        assert.doesNotMatch(String(answer), /secret/)
      }
      romeo.send(chat(juliet.fullJid, 'and on'))

      await juliet.receivesNext({ body: 'and on' })
      assert.ok(errors.some((error) => /routing_failed: Error: a secret/.test(String(error))))
    })
  }
}

test('a filter may change a stanza, but not where it goes', async () => {
  await using server = await startServer({
    routing: [
      () => ({
        name: 'meddler',
        filter: (envelope) =>
          envelope.stanza.child('body')?.text === 'divert' && !envelope.stanza.isError
            ? envelope.with({ to: envelope.from })
            : envelope.with({ stanza: envelope.stanza.append(el('seen', { xmlns: 'urn:x' })) }),
        route: (envelope) => envelope,
      }),
      'localdomain',
    ],
  })
  const romeo = await server.connect('romeo')
  const juliet = await server.connect('juliet')

  romeo.send(chat(juliet.fullJid, 'divert'))
  await romeo.receivesNext({ error: 'internal-server-error', errorType: 'wait' })
  romeo.send(chat(juliet.fullJid, 'plain'))
  await juliet.receivesNext({ body: 'plain', child: 'urn:x' })
  await juliet.receivesNothing((element) => element.child('body')?.text === 'divert')
})

test('a routing module by file stands where routing_modules puts it', async () => {
  await using place = await startServer()
  const file = `${place.directory}/router.mjs`
  await writeFile(
    file,
    `export default ({ router }) => ({
      name: 'shout',
      filter: (envelope) => envelope,
      route: (envelope) => {
        if (envelope.stanza.kind !== 'message' || envelope.to.local !== 'echo') return envelope
        return router.route(envelope.with({ from: envelope.to, to: envelope.from }))
      },
    })
    `,
  )
  const before = await startServer({ routing_modules: [file, 'localdomain'] })
  await using _before = before
  const behind = await startServer({ routing_modules: ['localdomain', file] })
  await using _behind = behind
  const [romeo, mercutio] = [await before.connect('romeo'), await behind.connect('mercutio')]
  const echo = `echo@${DOMAIN}`

  romeo.send(chat(echo, 'hello'))
  await romeo.receivesNext({ from: echo, body: 'hello', type: 'chat' })
  mercutio.send(chat(echo, 'hello'))
  await mercutio.receivesNext({ from: echo, error: 'service-unavailable' })
})

test('a subset of the routing modules is a server without the rest', async () => {
  await using server = await startServer({ routing_modules: ['localdomain'] })
  const romeo = await server.connect('romeo')

  romeo.send(chat('mercutio@verona.example', 'hello'))

  await romeo.receivesNext({ error: 'internal-server-error', errorType: 'wait' })
})

test('without a way to other servers, their users are unavailable', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')

  romeo.send(chat('mercutio@verona.example', 'hello'))

  await romeo.receivesNext({
    name: 'message',
    from: 'mercutio@verona.example',
    error: /remote-server-not-found|service-unavailable/,
  })
})

test('routing modules may be asynchronous, and keep the order', async () => {
  let turn = 0
  const pause = async () => {
    turn += 7
    for (let i = turn % 5; i > 0; i--) await null
  }
  await using server = await startServer({
    routing: [
      () => ({
        name: 'slow',
        async filter(envelope) {
          await pause()
          return envelope
        },
        async route(envelope) {
          await pause()
          return envelope
        },
      }),
      'localdomain',
    ],
  })
  const romeo = await server.connect('romeo')
  const juliet = await server.connect('juliet')
  const bodies = Array.from({ length: 50 }, (_, index) => String(index))

  for (const body of bodies) romeo.send(chat(juliet.fullJid, body))

  for (const body of bodies) await juliet.receivesNext({ body })
})

// --- Handlers.

const STANZA_HOOKS = [
  'user_send_packet',
  'user_send_message',
  'filter_packet',
  'filter_local_packet',
  'sm_message_decided',
  'user_receive_packet',
  'user_receive_message',
  'xmpp_presend_element',
] as const

for (const hook of STANZA_HOOKS) {
  for (const when of ['at once', 'later'] as const) {
    test(`${hook}: a handler that fails ${when} lets nothing pass, and the sender is told`, async () => {
      await using server = await startServer()
      const romeo = await server.connect('romeo')
      const juliet = await server.connect('juliet')
      const isMeant = (body: string | undefined, isError: boolean) => body === 'private' && !isError
      server.server.hooks.on(hook, (envelope) => {
        const { stanza } = envelope
        if (!isMeant(stanza.child('body')?.text, stanza.isError)) return envelope
        const failure = new Error('the privacy list is lost')
        if (when === 'later') return Promise.reject(failure)
        throw failure
      })

      romeo.send(chat(juliet.fullJid, 'private'))
      await romeo.receives({ error: 'internal-server-error', errorType: 'wait' })

      romeo.send(chat(juliet.fullJid, 'public'))
      await juliet.receivesNext({ body: 'public' })
      await juliet.receivesNothing()
      await romeo.receivesNothing()
    })

    test(`${hook}: a handler may refuse ${when}`, async () => {
      await using server = await startServer()
      const romeo = await server.connect('romeo')
      const juliet = await server.connect('juliet')
      server.server.hooks.on(hook, (envelope) => {
        if (envelope.stanza.kind !== 'message' || envelope.stanza.isError) return envelope
        const refusal = new StanzaError('not-acceptable', { type: 'cancel' })
        if (when === 'later') return Promise.reject(refusal)
        throw refusal
      })

      romeo.send(chat(juliet.fullJid, 'hello'))

      await romeo.receives({
        error: 'not-acceptable',
        errorType: 'cancel',
        from: juliet.fullJid,
        to: romeo.fullJid,
      })
      await juliet.receivesNothing()
    })
  }

  test(`${hook}: a handler that may be skipped does no harm`, async () => {
    await using server = await startServer()
    const romeo = await server.connect('romeo')
    const juliet = await server.connect('juliet')
    server.server.hooks.on(
      hook,
      () => {
        throw new Error('nothing but decoration')
      },
      { onError: 'skip' },
    )

    romeo.send(chat(juliet.fullJid, 'hello'))

    await juliet.receivesNext({ body: 'hello' })
  })
}

for (const hook of ['user_send_packet', 'user_send_message'] as const) {
  for (const when of ['at once', 'later'] as const) {
    test(`${hook}: a handler may end the stream ${when}`, async () => {
      await using server = await startServer()
      const romeo = await server.connect('romeo')
      const juliet = await server.connect('juliet')
      server.server.hooks.on(hook, (envelope) => {
        if (envelope.stanza.kind !== 'message') return envelope
        const end = new StreamError('policy-violation', 'That was one too many')
        if (when === 'later') return Promise.reject(end)
        throw end
      })
      const fates: string[] = []
      server.server.hooks.on('message_routed', (outcome, { envelope }) => {
        if (envelope.stanza.kind === 'message') fates.push(`${outcome.fate} ${outcome.reason}`)
        return outcome
      })

      romeo.send(chat(juliet.fullJid, 'hello'), chat(juliet.fullJid, 'again'))

      await romeo.receivesStreamError('policy-violation')
      assert.deepEqual(romeo.inbox({ type: 'error' }), [])
      assert.deepEqual(fates, ['dropped policy-violation'])
      await juliet.receivesNothing({ name: 'message' })
    })
  }
}

test('modules are told the fate of a stanza, and cannot change it', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  const juliet = await server.connect('juliet')
  server.server.hooks.on('message_routed', () => dropped('liar', 'not true'), { order: 1 })
  server.server.hooks.on('message_routed', () => {
    throw new Error('no matter')
  })

  romeo.send(chat(juliet.fullJid, 'hello'))

  await juliet.receivesNext({ body: 'hello' })
  await romeo.receivesNothing()
})
