import assert from 'node:assert/strict'
import { test } from 'node:test'
import { jid } from '../../src/xmpp/jid.ts'
import { el } from '../../src/xmpp/xml.ts'
import { conditionOf, NS } from '../support/client.ts'
import { DOMAIN, PASSWORD, type Settings, startServer } from '../support/server.ts'
import { chat } from '../support/stanzas.ts'

const SECURE = { tls: 'required', allow_plain_without_tls: false }
const CLEAR = { tls: 'none', allow_plain_without_tls: false }

const OFFERS: readonly {
  readonly what: string
  readonly settings: Settings
  readonly offered: readonly string[]
}[] = [
  {
    what: 'with TLS',
    settings: { listen: SECURE },
    offered: ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-1-PLUS', 'SCRAM-SHA-256', 'SCRAM-SHA-1', 'PLAIN'],
  },
  {
    what: 'without TLS',
    settings: { listen: CLEAR },
    offered: ['SCRAM-SHA-256', 'SCRAM-SHA-1'],
  },
  {
    what: 'without TLS, where passwords may be sent in the clear',
    settings: { listen: { ...CLEAR, allow_plain_without_tls: true } },
    offered: ['SCRAM-SHA-256', 'SCRAM-SHA-1', 'PLAIN'],
  },
  {
    what: 'where only SCRAM-SHA-256 is wanted',
    settings: { listen: SECURE, auth: { mechanisms: ['SCRAM-SHA-256'] } },
    offered: ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256'],
  },
  {
    what: 'where only PLAIN is wanted, but not without TLS',
    settings: { listen: CLEAR, auth: { mechanisms: ['PLAIN'] } },
    offered: [],
  },
  {
    what: 'where strangers are welcome',
    settings: { listen: CLEAR, auth: { mechanisms: ['SCRAM-SHA-1'], anonymous: true } },
    offered: ['SCRAM-SHA-1', 'ANONYMOUS'],
  },
]

for (const { what, settings, offered } of OFFERS) {
  test(`the mechanisms offered ${what}`, async () => {
    await using server = await startServer(settings)
    const client = await server.openStream()

    assert.deepEqual([...client.mechanisms].sort(), [...offered].sort())
  })
}

for (const mechanism of ['PLAIN', 'SCRAM-SHA-1', 'SCRAM-SHA-256']) {
  test(`${mechanism} lets in who knows the password`, async () => {
    await using server = await startServer()
    const romeo = await server.connect('romeo', 'orchard', { mechanism })

    assert.equal(romeo.fullJid, `romeo@${DOMAIN}/orchard`)
    assert.equal(server.sessionOf(romeo).info.mechanism, mechanism)
  })

  test(`${mechanism}: a stranger learns nothing from how a wrong password is refused`, async () => {
    await using server = await startServer()
    await server.createAccount('romeo')
    const tryAs = async (localpart: string) => {
      const client = await server.openStream()
      const credentials = { localpart, password: 'wrong', mechanism }
      return String(await client.tryToAuthenticate(credentials))
    }

    const known = await tryAs('romeo')

    assert.match(known, /<failure[^>]*><not-authorized\/>/)
    assert.equal(await tryAs('nobody'), known)
  })

  test(`${mechanism}: a disabled account is closed to its owner, and to others like any`, async () => {
    await using server = await startServer()
    await server.createAccount('romeo')
    await server.server.accounts.setDisabled(jid('romeo', DOMAIN).toBare(), true)
    const tryWith = async (password: string) => {
      const client = await server.openStream()
      const answer = await client.tryToAuthenticate({ localpart: 'romeo', password, mechanism })
      return answer.elements()[0]?.name
    }

    assert.equal(await tryWith(PASSWORD), 'account-disabled')
    assert.equal(await tryWith('wrong'), 'not-authorized')
  })

  test(`${mechanism}: who has just logged in does not again once that is forbidden`, async () => {
    await using server = await startServer()
    const romeo = await server.connect('romeo', 'orchard', { mechanism })
    await romeo.leaves()
    const account = jid('romeo', DOMAIN).toBare()
    const tryWith = async (password: string) => {
      const client = await server.openStream()
      const answer = await client.tryToAuthenticate({ localpart: 'romeo', password, mechanism })
      return answer.elements()[0]?.name ?? answer.name
    }

    assert.equal(await tryWith(PASSWORD), 'success')
    await server.server.lifecycle.setPassword(account, 'another')
    assert.equal(await tryWith(PASSWORD), 'not-authorized')
    assert.equal(await tryWith('another'), 'success')
    await server.server.lifecycle.setDisabled(account, true)
    assert.equal(await tryWith('another'), 'account-disabled')
    await server.server.lifecycle.remove(account)
    assert.equal(await tryWith('another'), 'not-authorized')
  })
}

test('a localpart is prepared before it is looked up', async () => {
  await using server = await startServer()
  await server.createAccount('romeo')
  const client = await server.openStream()

  await client.authenticate({ localpart: 'ROMEO', password: PASSWORD, mechanism: 'PLAIN' })
  await client.bind('orchard')

  assert.equal(client.fullJid, `romeo@${DOMAIN}/orchard`)
})

test('PLAIN is refused where it is not offered', async () => {
  await using server = await startServer({ listen: CLEAR })
  await server.createAccount('romeo')
  const client = await server.openStream()

  const answer = await client.tryToAuthenticate({
    localpart: 'romeo',
    password: PASSWORD,
    mechanism: 'PLAIN',
  })

  assert.equal(answer.name, 'failure')
  assert.ok(
    ['invalid-mechanism', 'encryption-required'].includes(answer.elements()[0]?.name ?? ''),
    String(answer),
  )
})

const WRONG_AUTHS = [
  { what: 'an unknown mechanism', mechanism: 'X-NONE', text: '', condition: 'invalid-mechanism' },
  { what: 'no mechanism', mechanism: '', text: '', condition: 'invalid-mechanism' },
  { what: 'what is not base64', mechanism: 'PLAIN', text: '#!', condition: 'incorrect-encoding' },
  {
    what: 'no message of PLAIN',
    mechanism: 'PLAIN',
    text: 'cm9tZW8=',
    condition: 'malformed-request',
  },
  {
    what: 'no message of SCRAM',
    mechanism: 'SCRAM-SHA-1',
    text: 'eA==',
    condition: 'malformed-request',
  },
]

for (const { what, mechanism, text, condition } of WRONG_AUTHS) {
  test(`an attempt with ${what} fails with ${condition}`, async () => {
    await using server = await startServer()
    const client = await server.openStream()

    client.send(el('auth', { xmlns: NS.sasl, mechanism }, text))

    const failure = await client.receivesNext({ name: 'failure', ns: NS.sasl })
    assert.equal(failure.elements()[0]?.name, condition)
  })
}

test('a response to no challenge, and a second attempt inside of one, are malformed', async () => {
  await using server = await startServer()
  await server.createAccount('romeo')
  const client = await server.openStream()
  const first = el('auth', { xmlns: NS.sasl, mechanism: 'SCRAM-SHA-1' }, 'biwsbj1yb21lbyxyPWFiYw==')

  client.send(el('response', { xmlns: NS.sasl }))
  const unasked = await client.receivesNext({ name: 'failure' })
  assert.equal(unasked.elements()[0]?.name, 'malformed-request')

  client.send(first)
  await client.receivesNext({ name: 'challenge' })
  client.send(first)
  const twice = await client.receivesNext({ name: 'failure' })
  assert.equal(twice.elements()[0]?.name, 'malformed-request')
})

test('an authorization identity other than the own one is refused', async () => {
  await using server = await startServer()
  await server.createAccount('romeo')
  const client = await server.openStream()

  const other = await client.sasl('PLAIN', `juliet@${DOMAIN}\0romeo\0${PASSWORD}`)
  assert.equal(other.elements()[0]?.name, 'invalid-authzid')

  const own = await client.sasl('PLAIN', `romeo@${DOMAIN}\0romeo\0${PASSWORD}`)
  assert.equal(own.name, 'success')
})

test('a failed attempt is told to who counts them', async () => {
  await using server = await startServer()
  const failed: unknown[] = []
  server.server.hooks.on('auth_failed', (acc, attempt) => {
    failed.push(attempt)
    return acc
  })
  const client = await server.openStream()

  for (const mechanism of ['PLAIN', 'SCRAM-SHA-256']) {
    await client.tryToAuthenticate({ localpart: 'Romeo', password: 'x', mechanism })
  }

  const attempt = { localpart: 'romeo', domain: DOMAIN, address: '127.0.0.1' }
  assert.deepEqual(failed, [attempt, attempt])
})

test('a stranger gets an address that nobody else has', async () => {
  await using server = await startServer({ auth: { anonymous: true } })
  const strangers = []
  for (let i = 0; i < 2; i++) {
    const client = await server.openStream()
    await client.authenticate({ localpart: '', password: '', mechanism: 'ANONYMOUS' })
    await client.bind()
    strangers.push(client)
  }
  const [one, other] = strangers
  assert(one !== undefined && other !== undefined)
  assert.match(one.bareJid, new RegExp(`^.{16,}@${DOMAIN}$`))
  assert.notEqual(one.bareJid, other.bareJid)
  assert.equal(server.sessionOf(one).info.isAnonymous, true)

  one.send(chat(other.fullJid, 'Who art thou?'))

  await other.receives({ body: 'Who art thou?', from: one.fullJid })
})

test('a stranger need not say anything to be let in (XEP-0175)', async () => {
  await using server = await startServer({ auth: { anonymous: true } })
  const client = await server.openStream()
  assert.equal((await client.sasl('ANONYMOUS')).name, 'success')
})

test('an account whose password changed opens to the new one only', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  await server.server.lifecycle.setPassword(jid('romeo', DOMAIN).toBare(), 'Montague')
  const tryWith = async (password: string) => {
    const client = await server.openStream()
    return (await client.tryToAuthenticate({ localpart: 'romeo', password })).name
  }

  assert.equal(await tryWith(PASSWORD), 'failure')
  assert.equal(await tryWith('Montague'), 'success')
  await romeo.roundTrip()
})

test('the sessions of an account that is removed end', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  const juliet = await server.connect('juliet')

  await server.server.lifecycle.remove(jid('romeo', DOMAIN).toBare())

  await romeo.receivesStreamError('not-authorized')
  juliet.send(chat(romeo.bareJid, 'Romeo?'))
  const answer = await juliet.receives({ name: 'message', type: 'error' })
  assert.equal(conditionOf(answer), 'service-unavailable')
})
