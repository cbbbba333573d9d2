/**
 * Other programs' servers that are killed while a user of ours writes. `npm run test:federation` plays it
 * with ten times as many messages.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { STANZA_ERROR_NS } from '../../src/xmpp/stanza-error.ts'
import { el } from '../../src/xmpp/xml.ts'
import type { Client } from '../support/client.ts'
import { startEjabberd, withoutEjabberd } from '../support/ejabberd.ts'
import { Internet } from '../support/federation.ts'
import type { ForeignServer } from '../support/foreign-server.ts'
import { startProsody, withoutProsody } from '../support/prosody.ts'
import { chat } from '../support/stanzas.ts'
import {
  acknowledge,
  enable,
  handled,
  handledAtLast,
  PATIENT_WITH_CLIENTS,
} from '../support/stream-management.ts'

const FULL = Number(process.env.FEDERATION_MESSAGES ?? 1_000)
const DOMAIN = 'montague.example'
const PING_NS = 'urn:xmpp:ping'
const ROMEO = `romeo@${DOMAIN}`

type Peer = {
  /** How many messages it stores in the time of one of the others. */
  readonly speed?: number
  readonly skip: string | false
  start(internet: Internet): Promise<ForeignServer>
}

const peers: Readonly<Record<string, Peer>> = {
  Prosody: {
    skip: withoutProsody,
    start: (internet) => startProsody(internet, DOMAIN, ['romeo'], { level: 'info' }),
  },
  'Prosody without stream management': {
    skip: withoutProsody,
    start: (internet) =>
      startProsody(internet, DOMAIN, ['romeo'], { level: 'info', smacks: false }),
  },
  ejabberd: {
    speed: 0.2,
    skip: withoutEjabberd,
    start: (internet) => startEjabberd(internet, DOMAIN, ['romeo'], { level: 'info' }),
  },
}

const bodyOf = (message: { child(name: string): { readonly text: string } | undefined }) =>
  message.child('body')?.text ?? ''

/** What waited for him, up to a message that comes after it. */
async function bodiesUntil(client: Client, last: string): Promise<string[]> {
  const bodies: string[] = []
  while (bodies.at(-1) !== last) bodies.push(bodyOf(await client.receives({ name: 'message' })))
  return bodies.slice(0, -1)
}

/** He becomes available, and has all that waited for him, however much: patience begins anew with each. */
async function fetchesAll(client: Client): Promise<void> {
  client.send(el('presence'))
  client.send(el('iq', { type: 'get', id: 'all', to: DOMAIN }, el('ping', { xmlns: PING_NS })))
  while (client.inbox({ name: 'iq' }).length === 0) await client.receivesMore()
}

for (const [name, { skip, start, speed = 1 }] of Object.entries(peers)) {
  const count = process.env.FEDERATION_MESSAGES === undefined ? FULL * speed : FULL

  test(`${name} is killed: each message arrives or comes back`, { skip }, async (t) => {
    await using internet = await Internet.start()
    const capulet = await internet.server('capulet.example', {
      s2s: { queue_size: '64MiB' },
      modules: PATIENT_WITH_CLIENTS,
    })
    internet.locateByAddress('capulet.example', capulet)
    await using montague = await start(internet)
    const juliet = await capulet.connect('juliet', 'balcony')
    await enable(juliet)
    const sent = Array.from({ length: count }, (_, number) => String(number))
    const half = count / 2

    for (const body of sent.slice(0, half)) await juliet.sends(chat(ROMEO, body))
    const safe = await handledAtLast(juliet)
    for (const body of sent.slice(half)) juliet.send(chat(ROMEO, body))
    // In their midst: as many are on their way as may be, and some have arrived.
    while (capulet.server.router.counts.sent.s2s.message < half + count / 10) await setTimeout(1)
    await montague.kill()
    await montague.startAgain()
    while ((await handledAtLast(juliet)) < count) {
      acknowledge(juliet, juliet.inbox({ name: 'message' }).length)
      await setTimeout(20)
    }

    const returned = juliet.inbox({ name: 'message' }).map(bodyOf)
    const romeo = await montague.bind('romeo', 'orchard')
    await fetchesAll(romeo)
    await juliet.sends(chat(ROMEO, 'last'))
    const received = await bodiesUntil(romeo, 'last')
    t.diagnostic(
      `${safe} were acknowledged when it was killed; ${received.length} of ${count} arrived, ${returned.length} came back`,
    )

    assert.equal(new Set(received).size, received.length, 'nothing arrived twice')
    assert.equal(new Set(returned).size, returned.length, 'nothing came back twice')
    const accounted = new Set([...received, ...returned])
    assert.deepEqual(
      sent.filter((body) => !accounted.has(body)),
      [],
      'nothing is lost',
    )
  })
}

const HANGING = 'a peer that hangs: what it did not take comes back, and it is reached again'

for (const name of ['Prosody', 'ejabberd']) {
  const { skip, start } = peers[name] ?? assert.fail()

  test(`${name}, ${HANGING}`, { skip }, async () => {
    await using internet = await Internet.start()
    const capulet = await internet.server('capulet.example', {
      s2s: { queue_timeout: '2s', ack_timeout: '2s', resume_timeout: '2s', connect_timeout: '2s' },
    })
    internet.locateByAddress('capulet.example', capulet)
    await using montague = await start(internet)
    const romeo = await montague.connect('romeo', 'orchard')
    const juliet = await capulet.connect('juliet', 'balcony')
    await enable(juliet)
    // It need not connect to us any more before it can answer.
    await romeo.sends(chat(juliet.fullJid, 'first'))
    assert.equal(bodyOf(await juliet.receives({ name: 'message' })), 'first')
    await juliet.sends(chat(`${ROMEO}/orchard`, 'before'))
    assert.equal(bodyOf(await romeo.receives({ name: 'message' })), 'before')
    // It has shown that it answers.
    while ((await handled(juliet)) === 0) await setTimeout(20)

    await montague.pause()
    await juliet.sends(chat(`${ROMEO}/orchard`, 'meanwhile'))
    const returned = await juliet.receives({ name: 'message', type: 'error' })
    assert.ok(
      returned.child('error')?.child('remote-server-timeout', STANZA_ERROR_NS),
      returned.toString(),
    )

    montague.goOn()
    await juliet.sends(chat(`${ROMEO}/orchard`, 'after'))
    let body = ''
    while (body !== 'after') body = bodyOf(await romeo.receives({ name: 'message' }))
  })

  test(`${name}: a name that DNS does not know comes back in both directions`, {
    skip,
  }, async () => {
    await using internet = await Internet.start()
    const capulet = await internet.server('capulet.example')
    await using montague = await start(internet)
    const romeo = await montague.connect('romeo', 'orchard')
    const juliet = await capulet.connect('juliet', 'balcony')
    for (const client of [romeo, juliet]) {
      await client.sends(chat('nobody@unknown.example', 'hello'))
      const returned = await client.receives({ name: 'message', type: 'error' })
      assert.ok(
        returned.child('error')?.child('remote-server-not-found', STANZA_ERROR_NS),
        returned.toString(),
      )
    }
  })
}

/** It takes what we send, and cannot answer: there is no way back to us. */
const oneWay: Readonly<Record<string, Peer>> = {
  Prosody: {
    skip: withoutProsody,
    start: (internet) =>
      startProsody(internet, DOMAIN, ['romeo'], { smacks: false, bidi: false, level: 'info' }),
  },
  ejabberd: peers.ejabberd ?? assert.fail(),
}

for (const [name, { skip, start }] of Object.entries(oneWay)) {
  const stage = async () => {
    const internet = await Internet.start()
    const capulet = await internet.server('capulet.example', { s2s: { ack_timeout: '4s' } })
    internet.dns.services('_xmpp-server._tcp.capulet.example', { port: 1, target: '' })
    const montague = await start(internet)
    const romeo = await montague.connect('romeo', 'orchard')
    const juliet = await capulet.connect('juliet', 'balcony')
    await enable(juliet)
    await juliet.sends(chat(`${ROMEO}/orchard`, 'before'))
    assert.equal(bodyOf(await romeo.receives({ name: 'message' })), 'before')
    return {
      juliet,
      montague,
      async [Symbol.asyncDispose]() {
        await montague[Symbol.asyncDispose]()
        await internet[Symbol.asyncDispose]()
      },
    }
  }

  test(`${name} hangs before it has ever answered: what it was sent comes back`, {
    skip,
  }, async () => {
    await using scene = await stage()
    const { juliet, montague } = scene
    await montague.pause()
    await juliet.sends(chat(`${ROMEO}/orchard`, 'meanwhile'))
    for (const body of ['before', 'meanwhile']) {
      await juliet.receives({ error: 'remote-server-timeout', body })
    }
    while ((await handled(juliet)) < 2) await setTimeout(20)
    montague.goOn()
  })

  test(`${name} cannot answer, but is there: what it was sent counts as arrived, until it hangs`, {
    skip,
  }, async () => {
    await using scene = await stage()
    const { juliet, montague } = scene
    assert.equal(await handled(juliet), 0)
    while ((await handled(juliet)) === 0) await setTimeout(50)
    await juliet.sends(chat(`${ROMEO}/orchard`, 'more'))
    while ((await handled(juliet)) < 2) await setTimeout(50)
    await juliet.receivesNothing({ name: 'message' })
    await montague.pause()
    await juliet.sends(chat(`${ROMEO}/orchard`, 'nobody reads this'))
    await juliet.receives({ error: 'remote-server-timeout', body: 'nobody reads this' })
    montague.goOn()
  })
}
