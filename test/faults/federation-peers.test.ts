/**
 * Other programs' servers that are killed while a user of ours writes. `npm run test:federation` plays it
 * with ten times as many messages.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { STANZA_ERROR_NS } from '../../src/xmpp/stanza-error.ts'
import type { Client } from '../support/client.ts'
import { startEjabberd, withoutEjabberd } from '../support/ejabberd.ts'
import { Internet } from '../support/federation.ts'
import type { ForeignServer } from '../support/foreign-server.ts'
import { startProsody, withoutProsody } from '../support/prosody.ts'
import { chat } from '../support/stanzas.ts'
import { acknowledge, enable, handled, PATIENT_WITH_CLIENTS } from '../support/stream-management.ts'

const FULL = Number(process.env.FEDERATION_MESSAGES ?? 1_000)
const DOMAIN = 'montague.example'
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
    let safe = 0
    while (safe === 0) safe = await handled(juliet)
    for (const body of sent.slice(half)) juliet.send(chat(ROMEO, body))
    // In their midst: they are all on their way, and some have arrived.
    safe = await handled(juliet)
    await montague.kill()
    await montague.startAgain()
    while ((await handled(juliet)) < count) {
      acknowledge(juliet, juliet.inbox({ name: 'message' }).length)
      await setTimeout(20)
    }

    const returned = juliet.inbox({ name: 'message' }).map(bodyOf)
    const romeo = await montague.connect('romeo', 'orchard')
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
    await juliet.sends(chat(`${ROMEO}/orchard`, 'before'))
    assert.equal(bodyOf(await romeo.receives({ name: 'message' })), 'before')
    // It has shown that it answers.
    while ((await handled(juliet)) === 0) await setTimeout(20)

    montague.pause()
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
