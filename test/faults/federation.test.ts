import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import type { Element } from '../../src/xmpp/xml.ts'
import type { Client } from '../support/client.ts'
import { emptyDirectory } from '../support/directory.ts'
import { Internet } from '../support/federation.ts'
import { freePort } from '../support/free-port.ts'
import { Relay } from '../support/relay.ts'
import { DOMAIN, startServer, type TestServer } from '../support/server.ts'
import { ServerProcess } from '../support/server-process.ts'
import { chat } from '../support/stanzas.ts'
import { acknowledge, enable, handled, PATIENT_WITH_CLIENTS } from '../support/stream-management.ts'

/** `npm run test:federation` plays with ten times as many. */
const COUNT = Number(process.env.FEDERATION_MESSAGES ?? 1_000)

/** Between the servers; DNS knows only it. */
async function relayTo(internet: Internet, server: TestServer): Promise<Relay> {
  const [listener] = server.server.serverListeners
  assert(listener !== undefined)
  const relay = await Relay.start(listener.address)
  internet.locateAt(server.domain, relay.address.host, relay.address.port)
  return relay
}

/** Numbers of the messages that a client has got, in the order in which they came. */
async function bodiesUntil(client: Client, last: string): Promise<string[]> {
  const bodies: string[] = []
  while (bodies.at(-1) !== last) {
    const { elements } = await client.receives({ name: 'message' }).then((message) => ({
      elements: message.elements('body'),
    }))
    bodies.push(elements[0]?.text ?? '')
  }
  return bodies
}

for (const bidi of [true, false]) {
  test(`a connection that breaks again and again loses, doubles and mixes up nothing (bidi: ${bidi})`, async () => {
    await using internet = await Internet.start()
    const capulet = await internet.server('capulet.example', { s2s: { bidi, queue_size: '64MiB' } })
    const montague = await internet.server('montague.example', {
      s2s: { bidi, queue_size: '64MiB' },
    })
    await using relay = await relayTo(internet, montague)
    const juliet = await capulet.connect('juliet', 'balcony')
    const romeo = await montague.connect('romeo', 'orchard')
    const expected = Array.from({ length: COUNT }, (_, number) => String(number))

    const sending = (async () => {
      for (const body of expected) {
        await juliet.sends(chat(romeo.fullJid, body))
        if (Number(body) % 100 === 50) {
          await juliet.roundTrip()
          relay.cut()
        }
      }
    })()
    const received = await bodiesUntil(romeo, String(COUNT - 1))
    await sending

    assert.deepEqual(received, expected)
    await juliet.receivesNothing({ type: 'error' })
    await romeo.receivesNothing()
  })
}

test('the way back on the same connection survives it, too', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example')
  const montague = await internet.server('montague.example', { s2s: { queue_size: '64MiB' } })
  await using relay = await relayTo(internet, montague)
  const juliet = await capulet.connect('juliet', 'balcony')
  const romeo = await montague.connect('romeo', 'orchard')
  await juliet.sends(chat(romeo.fullJid, 'first'))
  await romeo.receives({ body: 'first' })
  const expected = Array.from({ length: COUNT }, (_, number) => String(number))

  const sending = (async () => {
    for (const body of expected) {
      await romeo.sends(chat(juliet.fullJid, body))
      if (Number(body) % 100 === 50) {
        await romeo.roundTrip()
        relay.cut()
      }
    }
  })()
  const received = await bodiesUntil(juliet, String(COUNT - 1))
  await sending

  assert.deepEqual(received, expected)
  await romeo.receivesNothing({ type: 'error' })
})

test('what a server that never comes back has not acknowledged is returned, once each', async () => {
  await using internet = await Internet.start()
  const patience = { resume_timeout: '1s', queue_timeout: '1s' }
  const capulet = await internet.server('capulet.example', { s2s: patience })
  const montague = await internet.server('montague.example')
  await using relay = await relayTo(internet, montague)
  const juliet = await capulet.connect('juliet', 'balcony')
  const romeo = await montague.connect('romeo', 'orchard')
  await juliet.sends(chat(romeo.fullJid, 'first'))
  await romeo.receives({ body: 'first' })

  relay.hang()
  await juliet.sends(...Array.from({ length: 100 }, (_, i) => chat(romeo.fullJid, `lost ${i}`)))
  await juliet.roundTrip()
  relay.goDown()

  // The first one may be returned, too: nobody knows whether its acknowledgement was on its way.
  const lost = { name: 'message', error: 'remote-server-timeout', body: /^lost/ }
  const returned: string[] = []
  while (returned.length < 100) {
    const error = await juliet.receives(lost)
    returned.push(error.child('body')?.text ?? '')
  }
  assert.equal(new Set(returned).size, 100)
  await juliet.receivesNothing(lost)
  await romeo.receivesNothing()
})

test('a server that hangs is noticed, and what it did not take goes another way', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example', { s2s: { ack_timeout: '1s' } })
  const montague = await internet.server('montague.example')
  await using relay = await relayTo(internet, montague)
  const juliet = await capulet.connect('juliet', 'balcony')
  const romeo = await montague.connect('romeo', 'orchard')
  await juliet.sends(chat(romeo.fullJid, 'first'))
  await romeo.receives({ body: 'first' })

  relay.hang()
  await juliet.sends(chat(romeo.fullJid, 'second'))

  await romeo.receivesNext({ body: 'second' })
})

test('a server that is killed: what was acknowledged has arrived, or came back', async () => {
  await using internet = await Internet.start()
  await using directory = await emptyDirectory()
  {
    await using before = await startServer({
      data_dir: directory.path,
      storage: { url: `sqlite:${directory.path}/meerkat.db` },
    })
    await before.createAccount('romeo')
  }
  const port = await freePort('127.0.0.200')
  internet.locateAt(DOMAIN, '127.0.0.200', port)
  const tables = await internet.tables(DOMAIN, '127.0.0.200', port)
  const settings = `${tables}[modules.offline]\nmax_messages = 50000\n`
  const capulet = await internet.server('capulet.example', {
    s2s: { queue_size: '64MiB' },
    modules: PATIENT_WITH_CLIENTS,
  })
  const juliet = await capulet.connect('juliet', 'balcony')
  await enable(juliet)
  const sent = Array.from({ length: COUNT }, (_, number) => String(number))
  {
    await using first = await ServerProcess.start(directory.path, settings)
    for (const body of sent.slice(0, COUNT / 2)) juliet.send(chat(`romeo@${DOMAIN}`, body))
    // In their midst: some are acknowledged, some are not.
    while ((await handled(juliet)) === 0) await setTimeout(5)
    await first.kill()
  }
  for (const body of sent.slice(COUNT / 2)) juliet.send(chat(`romeo@${DOMAIN}`, body))
  await using second = await ServerProcess.start(directory.path, settings)
  const isMessage = (element: Element) => element.name === 'message'
  while ((await handled(juliet)) < COUNT) {
    acknowledge(juliet, juliet.inbox(isMessage).length)
    await setTimeout(20)
  }

  const returned = juliet
    .inbox(isMessage)
    .map((message) => message.child('body')?.text ?? '')
    .toSorted()
  const romeo = await second.connect('romeo', 'orchard')
  await romeo.becomesAvailable()
  juliet.send(chat(`romeo@${DOMAIN}`, 'last'))
  const received = await bodiesUntil(romeo, 'last')

  assert.equal(new Set(received).size, received.length, 'nothing arrived twice')
  assert.equal(new Set(returned).size, returned.length, 'nothing came back twice')
  const accounted = new Set([...received, ...returned])
  assert.deepEqual(
    sent.filter((body) => !accounted.has(body)),
    [],
    'nothing is lost',
  )
})

test('a server that is started again', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example')
  const before = await internet.server('montague.example')
  const juliet = await capulet.connect('juliet', 'balcony')
  const romeo = await before.connect('romeo', 'orchard')
  await juliet.sends(chat(romeo.bareJid, 'first'))
  await romeo.receives({ body: 'first' })

  await before.stop()
  await juliet.sends(chat(romeo.bareJid, 'second'))
  const after = await internet.server('montague.example')
  await after.createAccount('romeo')
  const again = await after.connect('romeo', 'orchard')

  await again.receives({ body: 'second' })
})
