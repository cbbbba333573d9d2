import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { test } from 'node:test'
import type { Envelope } from '../../src/core/envelope.ts'
import { DROP } from '../../src/core/hooks.ts'
import { el } from '../../src/xmpp/xml.ts'
import { makeDomainCertificate } from '../support/certificates.ts'
import { NS } from '../support/client.ts'
import { Internet, type ServerWishes } from '../support/federation.ts'
import { TestPeer } from '../support/peer.ts'
import { chat, presence } from '../support/stanzas.ts'

const MAM_NS = 'urn:xmpp:mam:2'
const CARBONS_NS = 'urn:xmpp:carbons:2'

/** What each of the two servers wants of the other. */
const ways: Readonly<Record<string, ServerWishes>> = {
  'certificates, both directions on one connection': {},
  'certificates, a connection each': { s2s: { bidi: false } },
  'direct TLS': { listener: { tls: 'direct' } },
  'certificates that only servers may show, and dialback': {},
  'dialback without certificates': { s2s: { certificates: 'optional' } },
  'dialback without certificates, a connection each': {
    s2s: { certificates: 'optional', bidi: false },
  },
  'dialback without TLS': {
    s2s: { certificates: 'optional', tls: 'optional' },
    listener: { tls: 'none' },
  },
}

for (const [way, wishes] of Object.entries(ways)) {
  test(`messages go both ways: ${way}`, async () => {
    await using internet = await Internet.start()
    const start = (domain: string) => {
      if (way.includes('without certificates')) {
        return internet.server(domain, {
          certificate: makeDomainCertificate(domain, undefined),
          ...wishes,
        })
      }
      if (!way.includes('only servers')) return internet.server(domain, wishes)
      const certificate = internet.certify(domain, { usages: ['serverAuth'] })
      return internet.server(domain, { certificate, ...wishes })
    }
    const capulet = await start('capulet.example')
    const montague = await start('montague.example')
    const juliet = await capulet.connect('juliet', 'balcony')
    const romeo = await montague.connect('romeo', 'orchard')

    await juliet.sends(chat(romeo.bareJid, 'Wherefore art thou Romeo?'))
    await romeo.receives({ from: juliet.fullJid, body: 'Wherefore art thou Romeo?' })

    await romeo.sends(chat(juliet.fullJid, 'Shall I hear more?'))
    await juliet.receives({ from: romeo.fullJid, body: 'Shall I hear more?' })
  })
}

test('order is kept, also of what comes while there is no connection yet', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example')
  const montague = await internet.server('montague.example')
  const juliet = await capulet.connect('juliet', 'balcony')
  const romeo = await montague.connect('romeo', 'orchard')
  const lines = Array.from({ length: 300 }, (_, line) => `line ${line}`)

  await juliet.sends(...lines.map((line) => chat(romeo.bareJid, line)))

  for (const line of lines) await romeo.receivesNext({ body: line })
})

test('iqs are answered by the other server, and by its users', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example')
  const montague = await internet.server('montague.example')
  const juliet = await capulet.connect('juliet', 'balcony')
  const romeo = await montague.connect('romeo', 'orchard')

  const pong = await juliet.ask('get', 'montague.example', el('ping', { xmlns: NS.ping }))
  assert.equal(pong.attr('type'), 'result')
  assert.equal(pong.attr('from'), 'montague.example')

  const asking = juliet.ask('get', romeo.fullJid, el('query', { xmlns: 'jabber:iq:version' }))
  const request = await romeo.receives({ name: 'iq', from: juliet.fullJid })
  romeo.send(
    el(
      'iq',
      { type: 'result', id: request.attr('id'), to: juliet.fullJid },
      el('query', { xmlns: 'jabber:iq:version' }, el('name', {}, 'lark')),
    ),
  )
  assert.match(String(await asking), /lark/)
})

test('subscriptions and presence', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example')
  const montague = await internet.server('montague.example')
  const juliet = await capulet.connect('juliet', 'balcony')
  const romeo = await montague.connect('romeo', 'orchard')

  await romeo.sends(presence('subscribe', juliet.bareJid))
  await juliet.receives({ name: 'presence', type: 'subscribe', from: romeo.bareJid })
  await juliet.sends(presence('subscribed', romeo.bareJid))
  await romeo.receives({ name: 'presence', type: 'subscribed', from: juliet.bareJid })
  await romeo.receives({ name: 'presence', type: undefined, from: juliet.fullJid })

  await juliet.sends(presence(undefined, undefined, el('show', {}, 'away')))
  await romeo.receives({ name: 'presence', from: juliet.fullJid, show: 'away' })

  const phone = await montague.connect('romeo', 'phone')
  await phone.receives({ name: 'presence', from: juliet.fullJid, show: 'away' })

  await juliet.leaves()
  await romeo.receives({ name: 'presence', type: 'unavailable', from: juliet.fullJid })
})

test('carbons and the archives of both sides', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example')
  const montague = await internet.server('montague.example')
  const juliet = await capulet.connect('juliet', 'balcony')
  const romeo = await montague.connect('romeo', 'orchard')
  const phone = await montague.connect('romeo', 'phone')
  await phone.ask('set', undefined, el('enable', { xmlns: CARBONS_NS }))

  await juliet.sends(chat(romeo.fullJid, 'Good night, good night!'))

  await romeo.receives({ body: 'Good night, good night!' })
  const copy = await phone.receives({ name: 'message', from: romeo.bareJid })
  assert.match(String(copy), /urn:xmpp:carbons:2.*Good night/)
  for (const client of [juliet, romeo]) {
    client.send(el('iq', { type: 'set', id: 'mam' }, el('query', { xmlns: MAM_NS })))
    const result = await client.receives({ name: 'message', child: MAM_NS })
    assert.match(String(result), /Good night/)
    await client.receives({ name: 'iq', id: 'mam', type: 'result' })
  }
})

test('a message to an account that is offline waits for it, whatever its server', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example')
  const montague = await internet.server('montague.example')
  const juliet = await capulet.connect('juliet', 'balcony')
  await montague.createAccount('romeo')

  await juliet.sends(chat('romeo@montague.example', 'Tomorrow at nine'))
  await juliet.sends(chat('nobody@montague.example', 'Who is there?'))
  await juliet.receives({ type: 'error', from: 'nobody@montague.example' })

  const romeo = await montague.connect('romeo', 'orchard')
  await romeo.receives({ from: juliet.fullJid, body: 'Tomorrow at nine' })
})

test('language: that of the sender travels, nobody else gives it one', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example')
  const montague = await internet.server('montague.example')
  const juliet = await capulet.connect('juliet', 'balcony', { header: { 'xml:lang': 'it' } })
  const nurse = await capulet.connect('nurse', 'chamber')
  const romeo = await montague.connect('romeo', 'orchard')

  await juliet.sends(chat(romeo.fullJid, 'Buona notte'))
  await romeo.receives({ body: 'Buona notte', lang: 'it' })

  await nurse.sends(chat(romeo.fullJid, 'Good night'))
  await romeo.receives({ body: 'Good night', lang: undefined })
})

test('a connection of ours takes over when the one that came is closed', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example')
  const montague = await internet.server('montague.example')
  const juliet = await capulet.connect('juliet', 'balcony')
  const romeo = await montague.connect('romeo', 'orchard')
  const [listener] = capulet.server.serverListeners
  assert(listener !== undefined)
  const connect = async () => {
    const options = { ...listener.address, domain: 'capulet.example' }
    const peer = await TestPeer.connect(options, 'montague.example')
    await peer.startStream()
    return peer
  }
  const { pem } = internet.certify('montague.example')
  // One that carries stanzas both ways, and one because of which the real server is asked.
  await using both = await connect()
  await both.startTls({ cert: pem, key: pem })
  both.send(el('bidi', { xmlns: 'urn:xmpp:bidi' }))
  await both.authenticatesExternally()
  await juliet.sends(chat(romeo.bareJid, 'one'))
  await both.receives({ body: 'one' })
  await using other = await connect()
  await other.startTls()
  other.sendKey('wrong')
  await other.receives({ name: 'result', type: 'invalid' })

  await both.leaves()
  await juliet.sends(chat(romeo.bareJid, 'two'))

  await romeo.receives({ body: 'two' })
})

test('services of ours speak with other servers under their own domains', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example', {
    component: {},
    certificate: internet.certify('capulet.example', {
      domains: ['capulet.example', 'rooms.capulet.example'],
    }),
  })
  internet.locate('rooms.capulet.example', capulet)
  const montague = await internet.server('montague.example')
  const romeo = await montague.connect('romeo', 'orchard')
  await using rooms = await capulet.connectComponent('rooms.capulet.example')

  await romeo.sends(chat('ball@rooms.capulet.example', 'May I come in?'))
  await rooms.receives({ from: romeo.fullJid, body: 'May I come in?' })

  const welcome = chat(romeo.fullJid, 'Welcome, gentlemen!')
  await rooms.sends(welcome.withAttributes({ from: 'ball@rooms.capulet.example' }))
  await romeo.receives({ from: 'ball@rooms.capulet.example', body: 'Welcome, gentlemen!' })
})

test('handlers see what goes out and comes in, and its fate', async () => {
  await using internet = await Internet.start()
  const seen: string[] = []
  const capulet = await internet.server('capulet.example')
  const montague = await internet.server('montague.example')
  const juliet = await capulet.connect('juliet', 'balcony')
  const romeo = await montague.connect('romeo', 'orchard')
  const bodyOf = (envelope: Envelope) => envelope.stanza.child('body')?.text
  capulet.server.hooks.on('s2s_send_packet', (envelope) => {
    seen.push(`out ${bodyOf(envelope)}`)
    return bodyOf(envelope) === 'kept back' ? DROP : envelope
  })
  capulet.server.hooks.on('message_routed', (outcome) => {
    seen.push(`${outcome.fate} by ${outcome.by}: ${outcome.reason}`)
    return outcome
  })
  montague.server.hooks.on('s2s_receive_packet', (envelope) => {
    seen.push(`in ${bodyOf(envelope)} from ${envelope.origin.kind}`)
    return bodyOf(envelope) === 'not wanted' ? DROP : envelope
  })

  for (const body of ['kept back', 'not wanted', 'welcome']) {
    await juliet.sends(chat(romeo.fullJid, body))
  }
  await romeo.receivesNext({ body: 'welcome' })

  assert.deepEqual(seen, [
    'out kept back',
    'dropped by s2s_send_packet: filtered',
    'out not wanted',
    'forwarded by s2s: montague.example',
    'out welcome',
    'forwarded by s2s: montague.example',
    'in not wanted from s2s',
    'in welcome from s2s',
  ])
})

test('a connection on which nothing is said is closed, and opened again', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example', { s2s: { idle_timeout: '1s' } })
  const montague = await internet.server('montague.example')
  const juliet = await capulet.connect('juliet', 'balcony')
  const romeo = await montague.connect('romeo', 'orchard')
  const [listener] = montague.server.serverListeners
  assert(listener !== undefined)

  await juliet.sends(chat(romeo.fullJid, 'one'))
  await romeo.receives({ body: 'one' })
  assert.equal(listener.connectionCount, 1)
  await listener.drained()

  await juliet.sends(chat(romeo.fullJid, 'two'))
  await romeo.receives({ body: 'two' })
})

// --- What cannot be.

test('no such server', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example')
  const juliet = await capulet.connect('juliet', 'balcony')
  internet.dns.services('_xmpp-server._tcp.mantua.example', { port: 5269, target: '' })

  for (const domain of ['nowhere.example', 'mantua.example']) {
    await juliet.sends(chat(`romeo@${domain}`, 'Art thou there?'))
    await juliet.receives({ type: 'error', error: 'remote-server-not-found', errorType: 'cancel' })
  }
})

test('DNS that does not answer, and a server that is not there', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example', { s2s: { queue_timeout: '1s' } })
  const juliet = await capulet.connect('juliet', 'balcony')
  for (const service of ['_xmpp-server', '_xmpps-server']) {
    internet.dns.breaks(`${service}._tcp.verona.example`)
  }
  internet.locateAt('mantua.example', '127.0.0.250', 1)

  await juliet.sends(chat('romeo@verona.example', 'Art thou there?'))
  await juliet.sends(chat('romeo@mantua.example', 'Art thou there?'))

  for (const domain of ['verona.example', 'mantua.example']) {
    await juliet.receives({ from: `romeo@${domain}`, error: 'remote-server-timeout' })
  }
  await juliet.receivesNothing()
})

test('a server that hangs', async () => {
  await using internet = await Internet.start()
  const patience = { queue_timeout: '1s', connect_timeout: '1s' }
  const capulet = await internet.server('capulet.example', { s2s: patience })
  const juliet = await capulet.connect('juliet', 'balcony')
  const silent = createServer((socket) => socket.on('error', () => {}).resume())
  await once(silent.listen(0, '127.0.0.1'), 'listening')
  internet.locateAt('mantua.example', '127.0.0.1', (silent.address() as { port: number }).port)

  await juliet.sends(chat('romeo@mantua.example', 'Art thou there?'))

  await juliet.receives({ error: 'remote-server-timeout', errorType: 'wait' })
  silent.close()
})

for (const [what, certificate] of Object.entries({
  'of its own word only': () => makeDomainCertificate('montague.example', undefined),
  'for another domain': (internet: Internet) => internet.certify('mercutio.example'),
  'that has ended': (internet: Internet) =>
    internet.certify('montague.example', { from: 0, until: Date.now() - 60_000 }),
})) {
  test(`a server with a certificate ${what}`, async () => {
    await using internet = await Internet.start()
    const capulet = await internet.server('capulet.example')
    const montague = await internet.server('montague.example', {
      certificate: certificate(internet),
    })
    const juliet = await capulet.connect('juliet', 'balcony')
    const romeo = await montague.connect('romeo', 'orchard')

    await juliet.sends(chat(romeo.bareJid, 'Wherefore art thou Romeo?'))
    const error = await juliet.receives({ error: 'remote-server-timeout' })
    assert.match(String(error), /certificate/)

    // Nor can it send: when it is called back, it shows the same certificate.
    await romeo.sends(chat(juliet.bareJid, 'Shall I hear more?'))
    await romeo.receives({ error: 'remote-server-timeout' })
    await juliet.receivesNothing()
  })
}

test('a server that is not to be spoken with', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example', {
    s2s: { deny: ['*.example'], queue_timeout: '1s' },
  })
  const montague = await internet.server('montague.example')
  const juliet = await capulet.connect('juliet', 'balcony')
  const romeo = await montague.connect('romeo', 'orchard')

  await juliet.sends(chat(romeo.bareJid, 'Wherefore art thou Romeo?'))
  await juliet.receives({ type: 'error', error: 'service-unavailable' })

  await romeo.sends(chat(juliet.bareJid, 'Shall I hear more?'))
  await romeo.receives({ type: 'error', error: 'remote-server-timeout' })
})

test('a domain below one of ours is not elsewhere, unless that is configured', async () => {
  for (const route_subdomains of [false, true]) {
    await using internet = await Internet.start()
    const example = await internet.server('example', {
      s2s: { route_subdomains, queue_timeout: '1s' },
    })
    const montague = await internet.server('montague.example')
    const juliet = await example.connect('juliet', 'balcony')
    const romeo = await montague.connect('romeo', 'orchard')

    await juliet.sends(chat(romeo.bareJid, 'Wherefore art thou Romeo?'))
    await romeo.sends(chat(juliet.bareJid, 'Shall I hear more?'))
    if (route_subdomains) {
      await romeo.receives({ body: 'Wherefore art thou Romeo?' })
      await juliet.receives({ from: romeo.fullJid, body: 'Shall I hear more?' })
    } else {
      await juliet.receives({ error: 'service-unavailable' })
      await romeo.receives({ error: 'remote-server-timeout' })
    }
  }
})

test('too much for a server that is not there', async () => {
  await using internet = await Internet.start()
  const limits = { queue_size: '16KiB', queue_timeout: '2s' }
  const capulet = await internet.server('capulet.example', { s2s: limits })
  const juliet = await capulet.connect('juliet', 'balcony')
  internet.locateAt('mantua.example', '127.0.0.250', 1)

  await juliet.sends(
    ...Array.from({ length: 20 }, () => chat('romeo@mantua.example', 'x'.repeat(1_000))),
  )

  await juliet.receives({ error: 'resource-constraint', errorType: 'wait' })
  await juliet.receives({ error: 'remote-server-timeout' })
})
