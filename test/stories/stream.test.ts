import assert from 'node:assert/strict'
import { test } from 'node:test'
import { StanzaError } from '../../src/xmpp/stanza-error.ts'
import { el } from '../../src/xmpp/xml.ts'
import { type Client, conditionOf, NS } from '../support/client.ts'
import { DOMAIN, PASSWORD, type Settings, startServer, type TestServer } from '../support/server.ts'
import { chat, iq, message, presence } from '../support/stanzas.ts'

const LIMITS_NS = 'urn:xmpp:stream-limits:0'
const HEADER = `<stream:stream xmlns='${NS.client}' xmlns:stream='${NS.streams}' to='${DOMAIN}' version='1.0'>`
const SMALL = { max_stanza_size: 10_000, pre_auth_bytes: 10_000 }

/** How far a client has come before it does what is wrong. */
type Stage = 'connected' | 'stream' | 'authenticated' | 'bound'

async function reach(stage: Stage, server: TestServer): Promise<Client> {
  if (stage === 'bound') return await server.connect('romeo', 'orchard', { priority: undefined })
  if (stage === 'connected') return await server.open()
  const client = await server.openStream()
  if (stage === 'stream') return client
  await server.createAccount('romeo')
  await client.authenticate({ localpart: 'romeo', password: PASSWORD })
  return client
}

type Violation = {
  readonly what: string
  readonly at: readonly Stage[]
  readonly sends: string | Uint8Array
  readonly condition: string
  readonly text?: RegExp
  readonly settings?: Settings
}

const DURING: readonly Stage[] = ['stream', 'authenticated', 'bound']
const nested = (depth: number) => `${'<a>'.repeat(depth)}${'</a>'.repeat(depth)}`

const violations: readonly Violation[] = [
  {
    what: 'tags that do not match',
    at: DURING,
    sends: '<message><body></message>',
    condition: 'not-well-formed',
    text: /./,
  },
  {
    what: 'bytes that are not UTF-8',
    at: DURING,
    sends: Buffer.from('<message><body>\xff\xfe</body></message>', 'latin1'),
    condition: 'not-well-formed',
  },
  {
    what: 'a character that XML does not have',
    at: DURING,
    sends: '<message><body>&#0;</body></message>',
    condition: 'not-well-formed',
  },
  {
    what: 'a prefix that is not declared',
    at: DURING,
    sends: '<message><x:y/></message>',
    condition: 'not-well-formed',
  },
  {
    what: 'text between stanzas',
    at: DURING,
    sends: 'But soft,',
    condition: 'bad-format',
  },
  { what: 'a comment', at: DURING, sends: '<!-- comment -->', condition: 'restricted-xml' },
  {
    what: 'a comment inside a stanza',
    at: ['bound'],
    sends: '<message><body><!-- comment --></body></message>',
    condition: 'restricted-xml',
  },
  {
    what: 'a processing instruction',
    at: DURING,
    sends: '<?php echo 1 ?>',
    condition: 'restricted-xml',
  },
  {
    what: 'a document type',
    at: ['connected', ...DURING],
    sends: '<!DOCTYPE lolz [<!ENTITY lol "lol">]>',
    condition: 'restricted-xml',
  },
  {
    what: 'an entity that is not predefined',
    at: DURING,
    sends: '<message><body>&lol;</body></message>',
    condition: 'restricted-xml',
  },
  {
    what: 'elements nested too deeply',
    at: DURING,
    sends: nested(101),
    condition: 'policy-violation',
  },
  {
    what: 'an element over the limit',
    at: ['stream', 'authenticated', 'bound'],
    sends: `<message><body>${'x'.repeat(10_001)}`,
    condition: 'policy-violation',
    text: /element too big/,
    settings: { listen: SMALL },
  },
  {
    what: 'a second stream header',
    at: DURING,
    sends: HEADER,
    condition: 'policy-violation',
  },
  {
    what: 'text instead of a header',
    at: ['connected'],
    sends: 'GET / HTTP/1.1\r\n\r\n',
    condition: 'not-well-formed',
  },
  {
    what: 'a stanza instead of a header',
    at: ['connected'],
    sends: `<message xmlns='${NS.client}'/>`,
    condition: 'invalid-namespace',
  },
  {
    what: 'an encoding other than UTF-8',
    at: ['connected'],
    sends: `<?xml version='1.0' encoding='ISO-8859-1'?>${HEADER}`,
    condition: 'unsupported-encoding',
  },
  {
    what: 'UTF-16',
    at: ['connected'],
    sends: Buffer.from(`\ufeff${HEADER}`, 'utf16le'),
    condition: 'unsupported-encoding',
  },
  {
    what: 'a domain that is not served',
    at: ['connected'],
    sends: HEADER.replace(DOMAIN, 'verona.example'),
    condition: 'host-unknown',
  },
  {
    what: 'an address that is none',
    at: ['connected'],
    sends: HEADER.replace(DOMAIN, '@'),
    condition: 'host-unknown',
  },
  {
    what: 'no version',
    at: ['connected'],
    sends: HEADER.replace(" version='1.0'", ''),
    condition: 'unsupported-version',
  },
  {
    what: 'version 0.9',
    at: ['connected'],
    sends: HEADER.replace("version='1.0'", "version='0.9'"),
    condition: 'unsupported-version',
  },
  {
    what: 'a stream namespace of its own',
    at: ['connected'],
    sends: HEADER.replace(NS.streams, 'urn:example:streams'),
    condition: 'invalid-namespace',
  },
  {
    what: "a server's content namespace",
    at: ['connected'],
    sends: HEADER.replace(NS.client, 'jabber:server'),
    condition: 'invalid-namespace',
  },
  {
    what: 'a sender that is no address',
    at: ['connected'],
    sends: HEADER.replace(' to=', " from='@' to="),
    condition: 'invalid-from',
  },
  ...['starttls', 'auth', 'response', 'abort'].map((name) => ({
    what: `<${name}/> in a wrong namespace`,
    at: ['stream', 'authenticated'] as const,
    sends: `<${name} xmlns='urn:example'/>`,
    condition: 'invalid-namespace',
  })),
  {
    what: 'a message before the session',
    at: ['stream', 'authenticated'],
    sends: `<message to='juliet@${DOMAIN}'><body>hi</body></message>`,
    condition: 'not-authorized',
  },
  {
    what: 'presence before the session',
    at: ['stream', 'authenticated'],
    sends: '<presence/>',
    condition: 'not-authorized',
  },
  {
    what: 'a request before authentication',
    at: ['stream'],
    sends: `<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>`,
    condition: 'not-authorized',
  },
  {
    what: 'an element that is no stanza',
    at: ['bound'],
    sends: '<presents/>',
    condition: 'unsupported-stanza-type',
  },
  {
    what: 'an element of a namespace that nobody knows',
    at: ['bound'],
    sends: "<message xmlns='urn:example'/>",
    condition: 'unsupported-stanza-type',
  },
  {
    what: "a stanza of a server's namespace",
    at: ['bound'],
    sends: "<message xmlns='jabber:server'/>",
    condition: 'unsupported-stanza-type',
  },
  {
    what: 'a sender that is no address',
    at: ['bound'],
    sends: `<message from='@' to='juliet@${DOMAIN}'/>`,
    condition: 'invalid-from',
  },
  {
    what: 'a sender who is somebody else',
    at: ['bound'],
    sends: `<message from='juliet@${DOMAIN}' to='juliet@${DOMAIN}'/>`,
    condition: 'invalid-from',
  },
  {
    what: 'a sender with another resource',
    at: ['bound'],
    sends: `<message from='romeo@${DOMAIN}/balcony' to='juliet@${DOMAIN}'/>`,
    condition: 'invalid-from',
  },
]

for (const { what, at, sends, condition, text, settings } of violations) {
  for (const stage of at) {
    test(`${what} (${stage}): ${condition}`, async () => {
      await using server = await startServer(settings)
      const client = await reach(stage, server)

      client.send(sends)
      // The header comes first, even if the client's own was at fault (RFC 6120 §4.9.1.2).
      if (stage === 'connected') {
        const { attributes } = await client.receivesHeader()
        assert.equal(attributes.from, DOMAIN)
        assert.equal(attributes.version, '1.0')
        assert.ok(attributes.id)
      }
      const error = await client.receivesStreamError(condition)

      if (text !== undefined) assert.match(error.child('text', NS.streamError)?.text ?? '', text)
      assert.deepEqual(client.inbox(), [])
    })
  }
}

test('nothing that comes after a stream error is looked at', async () => {
  await using server = await startServer()
  const juliet = await server.connect('juliet', 'balcony')
  const romeo = await server.connect('romeo')

  romeo.send('<presents/>', chat(juliet.fullJid, 'too late'))

  await romeo.receivesStreamError('unsupported-stanza-type')
  await juliet.receivesNothing({ name: 'message' })
})

test('between a header of ours and one of the client after SASL, errors come with a header', async () => {
  await using server = await startServer()
  await server.createAccount('romeo')
  const client = await server.openStream()
  const answer = await client.tryToAuthenticate({ localpart: 'romeo', password: PASSWORD })
  assert.equal(answer.name, 'success')

  client.restart()
  client.send(HEADER.replace("version='1.0'", "version='0.1'"))

  await client.receivesHeader()
  await client.receivesStreamError('unsupported-version')
})

test('after SASL, the stream belongs to whoever authenticated', async () => {
  await using server = await startServer({ domains: [DOMAIN, 'verona.example'] })
  await server.createAccount('romeo')
  const headers = [
    { header: { from: `juliet@${DOMAIN}` }, condition: 'invalid-from' },
    { header: { from: DOMAIN }, condition: 'invalid-from' },
    { header: { to: 'verona.example' }, condition: 'host-unknown' },
  ]
  for (const { header, condition } of headers) {
    const client = await server.openStream()
    await client.tryToAuthenticate({ localpart: 'romeo', password: PASSWORD })
    client.restart()
    client.sendHeader(header)
    await client.receivesStreamError(condition)
  }
})

test('after SASL, a client may say in the header who it is', async () => {
  await using server = await startServer()
  const header = { from: `romeo@${DOMAIN}` }

  const romeo = await server.connect('romeo', 'orchard', { header })

  assert.equal(romeo.header?.attributes.to, `romeo@${DOMAIN}`)
})

test('a client that says more in the header is called by its bare JID', async () => {
  await using server = await startServer()
  const client = await server.open()

  await client.startStream({ from: `Romeo@${DOMAIN}/orchard`, version: '01.00' })

  assert.equal(client.header?.attributes.to, `romeo@${DOMAIN}`)
  assert.equal(client.header?.attributes.version, '1.0')
})

test('a client that gets nowhere is told connection-timeout', async () => {
  await using server = await startServer({ listen: { pre_auth_timeout: '1s' } })
  const [silent, talkative] = [await server.open(), await server.openStream()]

  await silent.receivesHeader()
  await silent.receivesStreamError('connection-timeout')
  await talkative.receivesStreamError('connection-timeout')
})

test('a session outlives the time limit of the login', async () => {
  await using server = await startServer({ listen: { pre_auth_timeout: '1s' } })
  const romeo = await server.connect('romeo')
  const silent = await server.open()

  await silent.closes()

  await romeo.roundTrip()
})

test('a client may not send much before it is logged in', async () => {
  await using server = await startServer({ listen: SMALL })
  const client = await server.openStream()
  const refused = el('auth', { xmlns: NS.sasl, mechanism: 'NONE' }, 'x'.repeat(6_000))

  client.send(refused)
  await client.receives({ name: 'failure', ns: NS.sasl })
  client.send(refused)

  await client.receivesStreamError('policy-violation')
})

test('who is logged in may send more than before', async () => {
  await using server = await startServer({
    listen: { pre_auth_bytes: 10_000, max_stanza_size: '64KiB' },
  })
  const romeo = await server.connect('romeo')

  romeo.send(chat(romeo.fullJid, 'x'.repeat(60_000)))

  await romeo.receives({ body: 'x'.repeat(60_000) })
})

test('the limits in force are announced (XEP-0478)', async () => {
  await using server = await startServer({
    listen: { pre_auth_bytes: 10_000, max_stanza_size: 20_000 },
  })
  await server.createAccount('romeo')
  const client = await server.openStream()
  const announced = () =>
    client.features?.child('limits', LIMITS_NS)?.child('max-bytes', LIMITS_NS)?.text

  assert.equal(announced(), '10000')
  await client.authenticate({ localpart: 'romeo', password: PASSWORD })
  assert.equal(announced(), '20000')
  await client.bind()

  const exact = (size: number) => {
    const around = `<message to='${client.fullJid}'><body></body></message>`.length
    return `<message to='${client.fullJid}'><body>${'x'.repeat(size - around)}</body></message>`
  }
  client.send(exact(20_000))
  await client.receives({ name: 'message' })
  client.send(exact(20_001))
  await client.receivesStreamError('policy-violation')
})

test('after authentication, clients learn when they are asked whether they are there', async () => {
  await using server = await startServer({ modules: { ping: { interval: '90s' } } })
  await server.createAccount('romeo')
  const client = await server.openStream()
  const announced = () =>
    client.features?.child('limits', LIMITS_NS)?.child('idle-seconds', LIMITS_NS)?.text

  assert.equal(announced(), undefined)
  await client.authenticate({ localpart: 'romeo', password: PASSWORD })
  assert.equal(announced(), '90')
})

test('how deep elements may nest, and how many attributes they may have, is configurable', async () => {
  await using server = await startServer({ limits: { max_depth: 120, max_attributes: 20 } })
  const juliet = `juliet@${server.domain}`
  await server.createAccount('juliet')
  const romeo = await server.connect('romeo')
  const deep = (depth: number) =>
    `<message to='${juliet}' type='chat'><body>O</body>${nested(depth)}</message>`

  // It is kept, and read again.
  romeo.send(deep(119))
  const client = await server.connect('juliet')
  await client.receives({ name: 'message', body: 'O' })

  romeo.send(deep(120))
  await romeo.receivesStreamError('policy-violation')
  const attributes = Array.from({ length: 21 }, (_, index) => `a${index}=''`).join(' ')
  client.send(`<message ${attributes}/>`)
  await client.receivesStreamError('policy-violation')
})

test('an address on a block list is turned away without a word', async () => {
  await using server = await startServer()
  server.server.hooks.on('check_bl_c2s', (_, { address }) => address.endsWith('127.0.0.1'))

  const client = await server.open()

  await client.closes()
  assert.equal(client.isStreamEnded, false)
})

test('a block list that fails lets nobody in', async () => {
  await using server = await startServer()
  server.server.hooks.on('check_bl_c2s', () => {
    throw new Error('the list is lost')
  })

  const client = await server.open()

  await client.closes()
})

test('STARTTLS where there is none fails and ends the stream', async () => {
  await using server = await startServer()
  const client = await server.openStream()

  client.send(el('starttls', { xmlns: NS.tls }))

  await client.receivesNext({ name: 'failure', ns: NS.tls })
  await client.receivesEnd()
})

test('a client has three more tries to log in, then its stream ends', async () => {
  await using server = await startServer()
  await server.createAccount('romeo')
  const wrong = { localpart: 'romeo', password: 'wrong', mechanism: 'PLAIN' }
  const client = await server.openStream()

  for (let i = 0; i < 4; i++) {
    const answer = await client.tryToAuthenticate(wrong)
    assert.equal(answer.child('not-authorized', NS.sasl)?.name, 'not-authorized')
  }

  await client.receivesStreamError('policy-violation')
  assert.deepEqual(client.inbox(), [])
})

test('who fails three times may still get it right', async () => {
  await using server = await startServer()
  await server.createAccount('romeo')
  const client = await server.openStream()

  for (let i = 0; i < 2; i++) {
    await client.tryToAuthenticate({ localpart: 'romeo', password: 'wrong', mechanism: 'PLAIN' })
  }
  client.send(el('auth', { xmlns: NS.sasl, mechanism: 'SCRAM-SHA-1' }, 'biwsbj1yb21lbyxyPWFiYw=='))
  await client.receivesNext({ name: 'challenge', ns: NS.sasl })
  client.send(el('abort', { xmlns: NS.sasl }))
  const aborted = await client.receivesNext({ name: 'failure', ns: NS.sasl })
  assert.equal(aborted.elements()[0]?.name, 'aborted')

  await client.authenticate({ localpart: 'romeo', password: PASSWORD })
})

test('a resource that cannot be bound is refused, five times', async () => {
  await using server = await startServer()
  const client = await reach('authenticated', server)
  const bind = (...children: Parameters<typeof el>[2][]) =>
    el('bind', { xmlns: NS.bind }, ...children)
  const wrong = [
    iq('set', undefined, bind(el('resource', {}, 'x'.repeat(1_024)))),
    iq('get', undefined, bind()),
    iq('set', undefined, el('session', { xmlns: 'urn:ietf:params:xml:ns:xmpp-session' })),
    iq('set', undefined),
    iq('set', undefined, bind(), bind()),
  ]
  for (const request of wrong) {
    client.send(request)
    await client.receivesNext({ name: 'iq', id: request.attr('id'), error: 'bad-request' })
  }
  client.send(iq('get', undefined, bind()))
  await client.receives({ name: 'iq', error: 'bad-request' })

  await client.receivesStreamError('policy-violation')
})

test('after a refused resource, another may be bound', async () => {
  await using server = await startServer()
  const client = await reach('authenticated', server)

  assert.equal(conditionOf(await client.tryToBind('x'.repeat(1_024))), 'bad-request')
  await client.bind('orchard')

  assert.equal(client.fullJid, `romeo@${DOMAIN}/orchard`)
})

test('what is no request is not answered, before the session either', async () => {
  await using server = await startServer()
  const client = await reach('authenticated', server)

  client.send(iq('result', undefined), iq('error', undefined))
  await client.bind('orchard')

  assert.deepEqual(client.inbox(), [])
})

test('before the session, nobody but the server is spoken to', async () => {
  await using server = await startServer()
  const ping = el('ping', { xmlns: NS.ping })

  for (const to of [DOMAIN, `romeo@${DOMAIN}`]) {
    const client = await reach('authenticated', server)
    assert.equal(conditionOf(await client.ask('get', to, ping)), 'bad-request')
    await client.bind('orchard')
  }
  for (const to of [`juliet@${DOMAIN}`, `romeo@${DOMAIN}/orchard`, 'verona.example', '@']) {
    const client = await reach('authenticated', server)
    client.send(el('iq', { type: 'get', id: '1', to }, ping))
    await client.receivesStreamError('not-authorized')
  }
})

test('what is bound comes back as it was asked for, whatever characters it has', async () => {
  await using server = await startServer()
  const client = await reach('authenticated', server)
  const [id, resource] = [`'"&<>\n`, `bal<cony> & 'orchard' ö`]

  const request = el('bind', { xmlns: NS.bind }, el('resource', {}, resource))
  client.send(el('iq', { type: 'set', id }, request))

  const bound = await client.receivesNext({ name: 'iq', id, type: 'result' })
  const jid = bound.child('bind', NS.bind)?.child('jid', NS.bind)?.text
  assert.equal(jid, `romeo@${DOMAIN}/${resource}`)
})

test('the server chooses a resource for whoever asks for none', async () => {
  await using server = await startServer()
  const [one, other] = [await reach('authenticated', server), await reach('authenticated', server)]

  await one.bind()
  await other.bind('')

  assert.match(one.fullJid, new RegExp(`^romeo@${DOMAIN}/.{16,}$`))
  assert.match(other.fullJid, new RegExp(`^romeo@${DOMAIN}/.{16,}$`))
  assert.notEqual(one.fullJid, other.fullJid)
})

test('a session that a handler refuses may be asked for again', async () => {
  await using server = await startServer()
  const client = await reach('authenticated', server)
  let refusals = 1
  const forbidden: string[] = []
  server.server.hooks.on('user_open_session', (verdict) => (refusals-- > 0 ? 'deny' : verdict))
  server.server.hooks.on('forbidden_session', (who) => {
    forbidden.push(who.full)
    return who
  })

  assert.equal(conditionOf(await client.tryToBind('orchard')), 'not-allowed')
  await client.bind('orchard')

  assert.deepEqual(forbidden, [`romeo@${DOMAIN}/orchard`])
})

test('a handler that fails opens no session', async () => {
  await using server = await startServer()
  const client = await reach('authenticated', server)
  server.server.hooks.on('session_opening_allowed_for_user', async () => {
    throw new Error('the list of the banned is lost')
  })

  client.send(iq('set', undefined, el('bind', { xmlns: NS.bind })))

  await client.receivesStreamError('internal-server-error')
})

test('the recipient sees the full address of the sender, whatever the sender wrote', async () => {
  await using server = await startServer()
  const juliet = await server.connect('juliet', 'balcony')
  const romeo = await server.connect('romeo', 'orchard')

  for (const from of [undefined, romeo.bareJid, romeo.fullJid, `ROMEO@${DOMAIN}`]) {
    romeo.send(el('message', { from, to: juliet.fullJid }))
    await juliet.receivesNext({ name: 'message', from: romeo.fullJid, to: juliet.fullJid })
  }
})

test('a stanza takes on the language of its stream', async () => {
  await using server = await startServer()
  const juliet = await server.connect('juliet', 'balcony')
  const romeo = await server.connect('romeo', 'orchard', { header: { 'xml:lang': 'it' } })

  romeo.send(message('normal', juliet.fullJid, 'Ma che luce?'))
  await juliet.receivesNext({ lang: 'it' })
  romeo.send(el('message', { to: juliet.fullJid, 'xml:lang': 'en' }, el('body', {}, 'But soft')))
  await juliet.receivesNext({ lang: 'en' })
  juliet.send(chat(romeo.fullJid, 'Ay me'))
  await romeo.receivesNext({ lang: undefined })
})

test('a message to nobody is to oneself, a request to nobody is for the account', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo', 'orchard')
  const asked: string[] = []
  server.server.hooks.on('filter_local_packet', (envelope) => {
    asked.push(`${envelope.stanza.kind} ${envelope.to}`)
    return envelope
  })

  romeo.send(message('chat', undefined, 'alone'))
  await romeo.receivesNext({ body: 'alone', to: romeo.bareJid })
  await romeo.ask('get', undefined, el('query', { xmlns: 'urn:example:nothing' }))

  assert.ok(asked.includes(`message ${romeo.bareJid}`))
  assert.ok(asked.includes(`iq ${romeo.bareJid}`))
})

test('an address that is none is told to the sender, but never in answer to an answer', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo', 'orchard')
  const wrong = '@nowhere'

  for (const stanza of [chat(wrong, 'x'), presence(undefined, wrong), iq('get', wrong, el('q'))]) {
    romeo.send(stanza)
    await romeo.receivesNext({
      name: stanza.name,
      id: stanza.attr('id'),
      from: DOMAIN,
      error: 'jid-malformed',
      errorType: 'modify',
    })
  }
  romeo.send(message('error', wrong, 'x'), iq('result', wrong), iq('error', wrong))
  romeo.send(presence('error', wrong))
  await romeo.receivesNothing()
})

const BAD_IQS = [
  { what: 'no id', stanza: el('iq', { type: 'get', to: DOMAIN }, el('ping', { xmlns: NS.ping })) },
  { what: 'no type', stanza: iq(undefined, DOMAIN, el('q')) },
  { what: 'an unknown type', stanza: iq('subscribe', DOMAIN, el('q')) },
  { what: 'no child', stanza: iq('get', DOMAIN) },
  { what: 'two children', stanza: iq('set', DOMAIN, el('q'), el('q')) },
]

for (const { what, stanza } of BAD_IQS) {
  test(`a request with ${what} is a bad one, and nothing worse`, async () => {
    await using server = await startServer()
    const romeo = await server.connect('romeo')

    romeo.send(stanza)

    await romeo.receivesNext({ name: 'iq', id: stanza.attr('id'), error: 'bad-request' })
    await romeo.receivesNothing()
  })
}

test('an unknown type of presence is a bad request, an unknown type of message a normal one', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')

  romeo.send(presence('lurking'))
  await romeo.receivesNext({ name: 'presence', error: 'bad-request' })
  romeo.send(message('whisper', romeo.bareJid, 'hush'))
  await romeo.receivesNext({ name: 'message', body: 'hush' })
  await romeo.receivesNothing()
})

test('a session that a handler refuses with an error of its own is no session', async () => {
  await using server = await startServer()
  const client = await reach('authenticated', server)
  server.server.hooks.on('user_open_session', () => {
    throw new StanzaError('resource-constraint', { type: 'wait' })
  })

  const answer = await client.tryToBind('orchard')

  assert.equal(conditionOf(answer), 'resource-constraint')
  assert.equal(server.server.sessionManager.sessions.size, 0)
})

for (const when of ['at once', 'later'] as const) {
  test(`a session ends that a handler fails to take note of ${when}`, async () => {
    await using server = await startServer()
    const client = await reach('authenticated', server)
    server.server.hooks.on('sm_register_connection', () => {
      const failure = new StanzaError('not-allowed')
      if (when === 'later') return Promise.reject(failure)
      throw failure
    })

    client.send(iq('set', undefined, el('bind', { xmlns: NS.bind })))

    await client.receivesStreamError('internal-server-error')
  })
}

test('a stream is closed when the client closes it', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')

  await romeo.leaves()

  assert.equal(romeo.isStreamEnded, true)
})

test('a stream error of the client ends its stream, without one in answer', async () => {
  await using server = await startServer()
  const error = `<stream:error><reset xmlns='${NS.streamError}'/></stream:error>`
  const romeo = await server.connect('romeo')
  const stranger = await server.openStream()
  for (const client of [romeo, stranger]) {
    client.send(error)
    await client.receivesEnd()
    assert.deepEqual(client.inbox({ name: 'error' }), [])
  }
  assert.equal(server.server.sessionManager.sessions.size, 0)
})
