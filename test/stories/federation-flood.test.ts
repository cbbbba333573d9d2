/** Domains that nobody has, by the thousand: what they cost is bounded. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { Internet } from '../support/federation.ts'
import { ListeningPeer } from '../support/listening-peer.ts'
import { TestPeer } from '../support/peer.ts'
import { chat } from '../support/stanzas.ts'

const DOMAINS = 3_000
const MAX_DOMAINS = 500
const MAX_CONNECTING = 8
/** For one domain: two services, then two families of addresses. */
const QUESTIONS = 2

const names = Array.from({ length: DOMAINS }, (_, number) => `d${number}.example`)

test('a user who writes to thousands of domains that are not there', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example', {
    s2s: { max_domains: MAX_DOMAINS, max_connecting: MAX_CONNECTING },
  })
  const juliet = await capulet.connect('juliet', 'balcony')
  const federation = capulet.server.federation
  internet.dns.answersLater()

  for (const name of names) await juliet.sends(chat(`romeo@${name}`, 'Art thou there?'))
  while (juliet.inbox({ error: 'resource-constraint' }).length < DOMAINS - MAX_DOMAINS) {
    await juliet.roundTrip()
  }
  assert.equal(federation?.linkCount, MAX_DOMAINS)
  assert.ok(internet.dns.waiting <= MAX_CONNECTING * QUESTIONS)
  assert.equal(federation?.connectionCount, 0)

  internet.dns.answersAtOnce()
  while (juliet.inbox({ type: 'error' }).length < DOMAINS) await juliet.receivesMore()
  assert.equal(juliet.inbox({ error: 'remote-server-not-found' }).length, MAX_DOMAINS)
  assert.ok(internet.dns.mostWaiting <= MAX_CONNECTING * QUESTIONS)
  while (Number(federation?.linkCount) > 0) await setTimeout(20)
})

test('strangers who claim to be thousands of domains leave room for our own users', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example', {
    s2s: { max_domains: MAX_DOMAINS, max_connecting: MAX_CONNECTING },
    listener: { max_connections_per_address: 400 },
  })
  const montague = await internet.server('montague.example')
  const juliet = await capulet.connect('juliet', 'balcony')
  const romeo = await montague.connect('romeo', 'orchard')
  const [listener] = capulet.server.serverListeners
  assert(listener !== undefined)
  internet.dns.answersLater(/^(_xmpps?-server\._tcp\.)?d\d+\.example$/)
  const strangers: TestPeer[] = []
  for (let number = 0; number < 60; number++) {
    const options = { ...listener.address, domain: 'capulet.example' }
    const stranger = await TestPeer.connect(options, names[number * 20] as string)
    strangers.push(stranger)
    await stranger.startStream()
    await stranger.startTls()
    for (const name of names.slice(number * 20, (number + 1) * 20)) stranger.sendKey('key', name)
    // Of one stream only some are looked at.
    await stranger.receives({ name: 'result', type: 'error' })
  }

  const { linkCount = 0, connectionCount } = capulet.server.federation ?? {}
  assert.ok(linkCount <= MAX_DOMAINS / 2, `${linkCount} domains are asked for`)
  assert.equal(connectionCount, 0)
  assert.ok(internet.dns.mostWaiting <= MAX_CONNECTING * QUESTIONS)
  await juliet.sends(chat(romeo.fullJid, 'Wherefore art thou Romeo?'))
  await romeo.receives({ body: 'Wherefore art thou Romeo?' })

  for (const stranger of strangers) await stranger.vanishes()
})

test('a stranger who has made us wait for a domain does not keep our own users waiting', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example', { s2s: { max_connecting: 1 } })
  const montague = await internet.server('montague.example')
  const juliet = await capulet.connect('juliet', 'balcony')
  const romeo = await montague.connect('romeo', 'orchard')
  const [listener] = capulet.server.serverListeners
  assert(listener !== undefined)
  await using silent = await ListeningPeer.start('d0.example')
  internet.locateAt('d0.example', silent.address.host, silent.address.port)
  const options = { ...listener.address, domain: 'capulet.example' }
  await using stranger = await TestPeer.connect(options, 'd0.example')
  await stranger.startStream()
  await stranger.startTls()
  stranger.sendKey('key')
  await silent.next()
  stranger.sendKey('key', 'montague.example')
  while (capulet.server.federation?.linkCount !== 2) await setTimeout(5)

  await juliet.sends(chat(romeo.fullJid, 'Wherefore art thou Romeo?'))
  await romeo.receives({ body: 'Wherefore art thou Romeo?' })
})
