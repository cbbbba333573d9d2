/** With whom elsewhere people here communicate (XEP-0133 §4.11, §4.12). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Client } from '../support/client.ts'
import { conditionOf } from '../support/client.ts'
import { Internet } from '../support/federation.ts'
import { giveAsOperator as give } from '../support/operator.ts'
import { DOMAIN, startServer, type TestServer } from '../support/server.ts'
import { chat } from '../support/stanzas.ts'

type Stage = AsyncDisposable & {
  readonly capulet: TestServer
  readonly juliet: Client
  readonly romeo: Client
  readonly mercutio: Client
}

/** Juliet is on the server whose lists are edited. */
async function setStage(): Promise<Stage> {
  const internet = await Internet.start()
  const capulet = await internet.server('capulet.example')
  const montague = await internet.server('montague.example')
  return {
    capulet,
    juliet: await capulet.connect('juliet', 'balcony'),
    romeo: await montague.connect('romeo', 'orchard'),
    mercutio: await montague.connect('mercutio', 'street'),
    [Symbol.asyncDispose]: () => internet[Symbol.asyncDispose](),
  }
}

async function reaches(from: Client, to: Client): Promise<void> {
  const body = `from ${from.bareJid} ${Math.random()}`
  await from.sends(chat(to.fullJid, body))
  await to.receives({ body, from: from.fullJid })
}

async function isTold(from: Client, to: Client, condition: string): Promise<void> {
  await from.sends(chat(to.fullJid, 'Art thou there?'))
  assert.equal(
    conditionOf(await from.receives({ name: 'message', type: 'error', from: to.fullJid })),
    condition,
  )
}

/** What comes from there is not told anything, either: a later one that passes shows it. */
async function isIgnored(from: Client, to: Client, after: Client): Promise<void> {
  await from.sends(chat(to.fullJid, 'This does not come'))
  await from.roundTrip()
  await reaches(after, to)
  await to.receivesNothing({ body: 'This does not come' })
}

test('nobody communicates with an address on the blacklist, in either direction', async () => {
  await using stage = await setStage()
  const { capulet, juliet, romeo, mercutio } = stage
  await reaches(juliet, romeo)
  await reaches(romeo, juliet)

  await give(capulet, 'blacklist add', { address: romeo.bareJid })

  await isTold(juliet, romeo, 'not-allowed')
  await isIgnored(romeo, juliet, mercutio)
  await reaches(juliet, mercutio)
  await give(capulet, 'blacklist remove', { address: romeo.bareJid })
  await reaches(juliet, romeo)
  await reaches(romeo, juliet)
})

test('a server on the blacklist is spoken with neither on open connections nor on new ones', async () => {
  await using stage = await setStage()
  const { capulet, juliet, romeo } = stage
  await reaches(romeo, juliet)

  await give(capulet, 'blacklist add', { address: 'montague.example' })

  await isTold(juliet, romeo, 'not-allowed')
  await romeo.sends(chat(juliet.fullJid, 'This does not come'))
  for (const link of capulet.server.federation?.links ?? []) link.disconnect()
  await isTold(juliet, romeo, 'not-allowed')
  // Its connections are refused.
  await romeo.sends(chat(juliet.fullJid, 'This does not come'))
  const returned = await romeo.receives({ name: 'message', type: 'error', from: juliet.fullJid })
  assert.ok(conditionOf(returned))
  await juliet.receivesNothing({ body: 'This does not come' })
})

test('once the whitelist names anybody, people here communicate with nobody else', async () => {
  await using stage = await setStage()
  const { capulet, juliet, romeo, mercutio } = stage
  await reaches(romeo, juliet)
  await reaches(mercutio, juliet)

  await give(capulet, 'whitelist add', { address: romeo.bareJid })

  await reaches(juliet, romeo)
  await isTold(juliet, mercutio, 'not-allowed')
  await isIgnored(mercutio, juliet, romeo)
  // The narrowest decides.
  await give(capulet, 'whitelist add', { address: 'montague.example' })
  await give(capulet, 'blacklist add', { address: mercutio.bareJid })
  await reaches(romeo, juliet)
  await isTold(juliet, mercutio, 'not-allowed')
  await give(capulet, 'blacklist add', { address: 'montague.example' })
  await give(capulet, 'whitelist remove', { address: 'montague.example' })
  await reaches(juliet, romeo)
  await reaches(romeo, juliet)
})

test('users here go on among themselves and with components, whatever the whitelist says', async () => {
  await using server = await startServer({ component: {} })
  const juliet = await server.connect('juliet', 'balcony')
  const nurse = await server.connect('nurse', 'hall')
  const gateway = await server.connectComponent('gateway.example.net')

  await give(server, 'whitelist add', { address: 'verona.example' })

  await reaches(juliet, nurse)
  juliet.send(chat('friar@gateway.example.net', 'Holy father'))
  await gateway.receives({ body: 'Holy father' })
  gateway.send(
    `<message from='friar@gateway.example.net' to='${juliet.fullJid}'><body>Pax</body></message>`,
  )
  await juliet.receives({ body: 'Pax' })
})

test('addresses at a component can be on the blacklist', async () => {
  await using server = await startServer({ component: {} })
  const juliet = await server.connect('juliet', 'balcony')
  const gateway = await server.connectComponent('gateway.example.net')

  await give(server, 'blacklist add', { address: 'tybalt@gateway.example.net' })

  juliet.send(chat('tybalt@gateway.example.net', 'Go away'))
  const refused = await juliet.receives({ name: 'message', type: 'error' })
  assert.equal(conditionOf(refused), 'not-allowed')
  gateway.send(
    `<message from='tybalt@gateway.example.net' to='${juliet.fullJid}'><body>Ha</body></message>`,
    `<message from='friar@gateway.example.net' to='${juliet.fullJid}'><body>Pax</body></message>`,
  )
  await juliet.receives({ body: 'Pax' })
  await juliet.receivesNothing({ body: 'Ha' })
})

test('lists are kept, bounded, and never about users here', async () => {
  const settings = { modules: { access_lists: { max_addresses: 2 } } }
  await using server = await startServer(settings)
  await give(server, 'blacklist add', { address: 'A.example' })
  await give(server, 'blacklist add', { address: 'mallory@b.example/Phone' })

  await assert.rejects(give(server, 'blacklist add', { address: 'c.example' }), {
    code: 'conflict',
  })
  await assert.rejects(give(server, 'whitelist add', { address: `juliet@${DOMAIN}` }), {
    code: 'invalid',
  })
  await server.reload({ modules: { access_lists: false } })
  await assert.rejects(give(server, 'blacklist list'), { code: 'unavailable' })
  await server.reload(settings)
  assert.deepEqual(await give(server, 'blacklist list'), {
    addresses: ['a.example', 'mallory@b.example/Phone'],
  })
})

test('lists hold for domains with settings of their own, also when they were empty before', async () => {
  const OTHER = 'other.example.com'
  await using server = await startServer({
    domains: [DOMAIN, OTHER],
    component: {},
    host: { [OTHER]: { modules: { access_lists: { max_addresses: 5 } } } },
  })
  const gateway = await server.connectComponent('gateway.example.net')
  await give(server, 'blacklist add', { address: 'tybalt@gateway.example.net' })

  for (const domain of [DOMAIN, OTHER]) {
    const juliet = await server.connect('juliet', 'balcony', { domain })
    juliet.send(chat('tybalt@gateway.example.net', 'Go away'))
    const refused = await juliet.receives({ name: 'message', type: 'error' })
    assert.equal(conditionOf(refused), 'not-allowed', domain)
  }
  await gateway.roundTrip()
  await gateway.receivesNothing({ body: 'Go away' })
})
