/** A server that we connect to, which answers as it likes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { el } from '../../src/xmpp/xml.ts'
import { makeDomainCertificate } from '../support/certificates.ts'
import { NS } from '../support/client.ts'
import { type AcceptedPeer, ListeningPeer } from '../support/listening-peer.ts'
import { DIALBACK_NS, TestPeer } from '../support/peer.ts'
import { greeting, setStage } from '../support/peer-stage.ts'
import type { TestServer } from '../support/server.ts'
import { chat } from '../support/stanzas.ts'
import { SM_NS } from '../support/stream-management.ts'

const BIDI = el('bidi', { xmlns: 'urn:xmpp:features:bidi' })
const SM = el('sm', { xmlns: SM_NS })
const DIALBACK = el('dialback', { xmlns: 'urn:xmpp:features:dialback' }, el('errors'))

const message = (from: string, to: string) => el('message', { from, to }, el('body', {}, 'Hark!'))

/** A connection of another server to us, which proves nothing. */
async function connectUnproved(server: TestServer, claimed: string): Promise<TestPeer> {
  const [listener] = server.server.serverListeners
  assert(listener !== undefined)
  const peer = await TestPeer.connect({ ...listener.address, domain: server.domain }, claimed)
  await peer.startStream()
  await peer.startTls()
  return peer
}

// --- TLS.

test('what comes along with the permission to start TLS is thrown away', async () => {
  await using stage = await setStage()
  await stage.juliet.sends(greeting)
  const peer = await stage.montague.next()
  await peer.answersHeader([el('starttls', { xmlns: NS.tls })])
  await peer.receivesNext({ name: 'starttls', ns: NS.tls })

  peer.send(
    `<proceed xmlns='${NS.tls}'/>` +
      `<stream:stream xmlns='jabber:server' xmlns:stream='${NS.streams}' xmlns:db='${DIALBACK_NS}' id='1' version='1.0'>` +
      `<stream:features/><db:result from='montague.example' to='capulet.example' type='valid'/>`,
  )
  await peer.upgradeAsServer({ cert: stage.shown.pem, key: stage.shown.pem })

  await peer.answersHeader([DIALBACK])
  await peer.receivesNext({ name: 'result', ns: DIALBACK_NS })
})

test('without TLS nothing is said', async () => {
  await using stage = await setStage()
  await stage.juliet.sends(greeting)
  const peer = await stage.montague.next()

  await peer.answersHeader([DIALBACK])

  await stage.juliet.receives({ error: 'remote-server-timeout', type: 'error' })
  await peer.receivesEnd()
  assert.deepEqual(peer.inbox(), [])
})

test('TLS that is refused, and TLS that breaks', async () => {
  await using stage = await setStage({ s2s: { queue_timeout: '1s' } })
  await stage.juliet.sends(greeting)
  const first = await stage.montague.next()
  await first.answersHeader([el('starttls', { xmlns: NS.tls })])
  await first.receivesNext({ name: 'starttls', ns: NS.tls })
  first.send(el('failure', { xmlns: NS.tls }))
  await first.closes()

  // It is tried again.
  const second = await stage.montague.next()
  await second.answersHeader([el('starttls', { xmlns: NS.tls })])
  await second.receivesNext({ name: 'starttls', ns: NS.tls })
  second.send(`<proceed xmlns='${NS.tls}'/>`)
  await second.vanishes()

  await stage.juliet.receives({ error: 'remote-server-timeout' })
})

// --- Headers and features.

test('answers that cannot be', async () => {
  await using stage = await setStage({ s2s: { queue_timeout: '1s', connect_timeout: '1s' } })
  const tls = `<stream:features><starttls xmlns='${NS.tls}'/></stream:features>`
  const cases = [
    [{ from: 'paris.example' }, tls],
    [{ xmlns: 'jabber:client' }, tls],
    [{ version: undefined }, tls],
    [{}, '<presence/>'],
    [{}, ''],
    [{}, `<stream:features><a>${'<b/>'.repeat(20)}`],
    [{}, `<stream:features><a>${'x'.repeat(600_000)}`],
  ] as const
  const answers = async ([header, answer]: (typeof cases)[number], number: number) => {
    const domain = `server${number}.example`
    await using server = await ListeningPeer.start(domain)
    stage.internet.locateAt(domain, server.address.host, server.address.port)
    await stage.juliet.sends(chat(`romeo@${domain}`, 'Wherefore art thou Romeo?'))
    const peer = await server.next()
    await peer.receivesHeader()

    peer.sendHeader({ xmlns: 'jabber:server', id: '1', from: domain, ...header })
    peer.send(answer)

    await stage.juliet.receives({ from: `romeo@${domain}`, error: 'remote-server-timeout' })
    await peer.closes()
    assert.deepEqual(peer.inbox({ ns: NS.tls }), [])
  }
  await Promise.all(cases.map(answers))
})

for (const [condition, told] of Object.entries({
  'host-unknown': 'remote-server-not-found',
  'host-gone': 'remote-server-not-found',
  'policy-violation': 'remote-server-timeout',
})) {
  test(`a server that answers with the stream error ${condition}`, async () => {
    await using stage = await setStage()
    await stage.juliet.sends(greeting)
    const peer = await stage.montague.next()
    await peer.receivesHeader()

    peer.sendHeader({ xmlns: 'jabber:server', id: '1', from: 'montague.example' })
    peer.send(
      `<stream:error><${condition} xmlns='${NS.streamError}'/></stream:error></stream:stream>`,
    )

    await stage.juliet.receives({ error: told })
  })
}

// --- Dialback.

for (const [what, answer, told] of [
  ['is not ours', `type='invalid'/>`, 'internal-server-error'],
  [
    'could not be verified',
    `type='error'><error type='cancel'><remote-server-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>`,
    'remote-server-timeout',
  ],
  ['failed for no reason', `type='error'/>`, 'remote-server-timeout'],
] as const) {
  test(`dialback: we are told that our key ${what}`, async () => {
    await using stage = await setStage()
    await stage.juliet.sends(greeting)
    const peer = await stage.montague.next()
    await peer.acceptsDialback(stage.shown)

    peer.send(`<db:result from='montague.example' to='capulet.example' ${answer}`)

    await stage.juliet.receives({ error: told })
    assert.deepEqual(peer.inbox({ name: 'message' }), [])
  })
}

test('dialback: nothing is sent before the answer, and answers for other pairs are none', async () => {
  await using stage = await setStage()
  await stage.juliet.sends(greeting)
  const peer = await stage.montague.next()
  const key = await peer.acceptsDialback(stage.shown)
  assert.match(key.text.trim(), /^[0-9a-f]{64}$/)

  peer.send(
    `<db:result from='paris.example' to='capulet.example' type='valid'/>`,
    `<db:result from='montague.example' to='verona.example' type='valid'/>`,
    `<db:verify from='montague.example' to='capulet.example' id='D60000229F' type='valid'/>`,
  )
  await asksForKey(peer, key.text)
  assert.deepEqual(peer.inbox({ name: 'message' }), [])

  peer.send(`<db:result from='montague.example' to='capulet.example' type='valid'/>`)
  await peer.receives({ name: 'message', body: 'Wherefore art thou Romeo?' })
})

/** On a connection of ours, whether a key is ours: it is. */
async function asksForKey(peer: AcceptedPeer, key: string): Promise<void> {
  peer.send(
    `<db:verify from='montague.example' to='capulet.example' id='D60000229F'>${key}</db:verify>`,
  )
  await peer.receives({ name: 'verify', ns: DIALBACK_NS, type: 'valid', id: 'D60000229F' })
}

test('dialback: on a connection of ours keys are verified, and no domains proved', async () => {
  await using stage = await setStage()
  await stage.juliet.sends(greeting)
  const peer = await stage.montague.next()
  const key = await peer.acceptsDialback(stage.shown, BIDI)
  await asksForKey(peer, key.text)

  peer.send(
    `<db:verify from='montague.example' to='capulet.example' id='another'>${key.text}</db:verify>`,
    `<db:verify from='paris.example' to='capulet.example' id='D60000229F'>${key.text}</db:verify>`,
    `<db:result from='rooms.montague.example' to='capulet.example'>key</db:result>`,
  )
  await peer.receives({ name: 'verify', type: 'invalid', id: 'another' })
  await peer.receives({ name: 'verify', type: 'error', to: 'paris.example' })
  const refused = await peer.receives({ name: 'result', type: 'error' })
  assert.equal(refused.attr('to'), 'rooms.montague.example')

  peer.send(`<db:result from='montague.example' to='capulet.example' type='valid'/>`)
  await peer.receives({ name: 'message' })
  peer.send(message('romeo@rooms.montague.example', stage.juliet.bareJid))
  await peer.receivesStreamError('invalid-from')
  await stage.juliet.receivesNothing({ body: 'Hark!', type: undefined })
})

test('dialback: only the server of the domain says whose a key is', async () => {
  await using stage = await setStage()
  await using paris = await ListeningPeer.start('paris.example')
  stage.internet.locateAt('paris.example', paris.address.host, paris.address.port)
  await stage.juliet.sends(chat('paris@paris.example', 'Not for you'))
  const evil = await paris.next()
  await evil.acceptsExternal(stage.internet.certify('paris.example'))
  await evil.receives({ name: 'message' })
  await using liar = await connectUnproved(stage.capulet, 'montague.example')
  liar.sendKey('wrong')
  const honest = await stage.montague.next()
  await honest.acceptsTls(stage.shown)
  await honest.answersHeader([DIALBACK])
  await honest.receives({ name: 'verify', ns: DIALBACK_NS, id: liar.streamId })

  evil.send(
    `<db:verify from='montague.example' to='capulet.example' id='${liar.streamId}' type='valid'/>`,
    `<db:verify from='paris.example' to='capulet.example' id='${liar.streamId}' type='valid'/>`,
  )
  await stage.juliet.sends(chat('paris@paris.example', 'Nor this'))
  await evil.receives({ name: 'message' })
  honest.send(
    `<db:verify from='montague.example' to='capulet.example' id='${liar.streamId}' type='invalid'/>`,
  )

  await liar.receives({ name: 'result', type: 'invalid' })
  await liar.receivesEnd()
})

for (const [what, answer] of Object.entries({
  'does not know the domain': (id: string) =>
    `<db:verify from='montague.example' to='capulet.example' id='${id}' type='error'>` +
    `<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:verify>`,
  'is not its server': () =>
    `<stream:error><host-unknown xmlns='${NS.streamError}'/></stream:error></stream:stream>`,
})) {
  test(`dialback: whoever is asked about a key ${what}`, async () => {
    await using stage = await setStage()
    await using liar = await connectUnproved(stage.capulet, 'montague.example')
    liar.sendKey('key')
    const authority = await stage.montague.next()
    if (what === 'is not its server') {
      await authority.receivesHeader()
      authority.sendHeader({ xmlns: 'jabber:server', id: '1', from: 'montague.example' })
    } else {
      await authority.acceptsTls(stage.shown)
      await authority.answersHeader([DIALBACK])
      await authority.receives({ name: 'verify', ns: DIALBACK_NS })
    }

    authority.send(answer(liar.streamId))

    const told = await liar.receives({ name: 'result', type: 'error' })
    assert.match(String(told), /<remote-server-not-found/)
  })
}

test('dialback: whoever is asked shows a wrong certificate, or closes', async () => {
  await using stage = await setStage()
  await using first = await connectUnproved(stage.capulet, 'montague.example')
  first.sendKey('key')
  const closing = await stage.montague.next()
  await closing.acceptsTls(stage.shown)
  await closing.answersHeader([DIALBACK])
  await closing.receives({ name: 'verify', ns: DIALBACK_NS })
  await closing.vanishes()
  const lost = await first.receives({ name: 'result', type: 'error' })
  assert.match(String(lost), /<remote-server-timeout/)

  await using second = await connectUnproved(stage.capulet, 'montague.example')
  second.sendKey('key')
  const wrong = await stage.montague.next()
  await wrong.acceptsTls(makeDomainCertificate('montague.example', undefined))
  const refused = await second.receives({ name: 'result', type: 'error' })
  assert.match(String(refused), /<not-authorized/)
})

// --- Stanzas on a connection of ours.

for (const [what, features, from, to, condition] of [
  [
    'without being allowed to',
    [],
    'romeo@montague.example',
    'juliet@capulet.example',
    'not-authorized',
  ],
  ['of another domain', [BIDI], 'paris@paris.example', 'juliet@capulet.example', 'invalid-from'],
  ['of ours', [BIDI], 'nurse@capulet.example', 'juliet@capulet.example', 'invalid-from'],
  ['for others', [BIDI], 'romeo@montague.example', 'paris@paris.example', 'host-unknown'],
] as const) {
  test(`on a connection of ours stanzas come ${what}`, async () => {
    await using stage = await setStage()
    await stage.juliet.sends(greeting)
    const peer = await stage.montague.next()
    await peer.acceptsDialback(stage.shown, ...features)
    peer.send(`<db:result from='montague.example' to='capulet.example' type='valid'/>`)
    await peer.receives({ name: 'message' })

    peer.send(message(from, to))

    await peer.receivesStreamError(condition)
    await stage.juliet.receivesNothing({ body: 'Hark!', type: undefined })
  })
}

test('counts that cannot be', async () => {
  for (const [h, condition] of [
    ['2', 'undefined-condition'],
    ['-1', 'policy-violation'],
    ['one', 'policy-violation'],
  ] as const) {
    await using stage = await setStage()
    await stage.juliet.sends(greeting)
    const peer = await stage.montague.next()
    await peer.acceptsExternal(stage.shown, SM)
    await peer.receives({ name: 'enable', ns: SM_NS })
    peer.send(el('enabled', { xmlns: SM_NS, id: 'some-id', resume: 'true' }))
    await peer.receives({ name: 'message' })

    peer.send(el('a', { xmlns: SM_NS, h }))

    await peer.receivesStreamError(condition)
  }
})

// --- Another host.

/** Its header, and the word that it is somewhere else. */
async function redirects(peer: AcceptedPeer, to: string): Promise<void> {
  await peer.answersWithHeader()
  peer.send(`${streamError('see-other-host', to)}</stream:stream>`)
}

test('a server that has shown who it is and names another host is followed there', async () => {
  await using stage = await setStage()
  await using other = await ListeningPeer.start('montague.example')
  stage.internet.dns.addresses('orchard.example', '127.0.0.1')
  await stage.juliet.sends(greeting)

  const first = await stage.montague.next()
  await first.acceptsTls(stage.shown)
  await redirects(first, `orchard.example:${other.address.port}`)

  const second = await other.next()
  await second.acceptsExternal(stage.shown)
  assert.equal(second.header?.attributes.to, 'montague.example')
  await second.receives({ body: 'Wherefore art thou Romeo?' })
})

test('another host has to be the server of the same domain', async () => {
  await using stage = await setStage({ s2s: { queue_timeout: '1s' } })
  await using other = await ListeningPeer.start('paris.example')
  await stage.juliet.sends(greeting)

  const first = await stage.montague.next()
  await first.acceptsTls(stage.shown)
  await redirects(first, `127.0.0.1:${other.address.port}`)

  const second = await other.next()
  await second.acceptsTls(stage.internet.certify('paris.example'))
  await stage.juliet.receives({ error: 'remote-server-timeout' })
  assert.deepEqual(second.inbox(), [])
})

test('whoever has shown nothing names no other host', async () => {
  await using stage = await setStage({ s2s: { queue_timeout: '1s' } })
  await using other = await ListeningPeer.start('montague.example')
  await stage.juliet.sends(greeting)

  const first = await stage.montague.next()
  await redirects(first, `127.0.0.1:${other.address.port}`)
  await first.closes()

  await stage.juliet.receives({ error: 'remote-server-timeout' })
  assert.equal(other.count, 0)
})

test('from host to host, but not for ever', async () => {
  await using stage = await setStage({
    s2s: { queue_timeout: '2s', retry_delay: '10s', max_retry_delay: '10s' },
  })
  const { montague, juliet } = stage
  await juliet.sends(greeting)

  for (let attempt = 0; attempt < 4; attempt++) {
    const peer = await montague.next()
    await peer.acceptsTls(stage.shown)
    await redirects(peer, `127.0.0.1:${montague.address.port}`)
    await peer.closes()
  }

  await juliet.receives({ error: 'remote-server-timeout' })
  assert.equal(montague.count, 4)
})

test('a stream in use that is sent to another host goes on with what was not acknowledged', async () => {
  await using stage = await setStage()
  await stage.juliet.sends(greeting)
  const first = await stage.montague.next()
  await first.acceptsExternal(stage.shown, SM)
  await first.receives({ name: 'enable' })
  first.send(el('enabled', { xmlns: SM_NS }))
  await first.receives({ body: 'Wherefore art thou Romeo?' })

  first.send(streamError('see-other-host', '127.0.0.1'))
  await first.leaves()

  const second = await stage.montague.next()
  await second.acceptsExternal(stage.shown, SM)
  await second.receives({ name: 'enable' })
  second.send(el('enabled', { xmlns: SM_NS }))
  await second.receives({ body: 'Wherefore art thou Romeo?' })
  await stage.juliet.receivesNothing({ name: 'message' })
})

test('a stream that has been used is gone on with at the host that is named', async () => {
  await using stage = await setStage()
  await using other = await ListeningPeer.start('montague.example')
  const { montague, juliet } = stage
  await juliet.sends(greeting)
  const first = await montague.next()
  await first.acceptsExternal(stage.shown, SM)
  await first.receives({ name: 'enable' })
  first.send(el('enabled', { xmlns: SM_NS }))
  await first.receives({ body: 'Wherefore art thou Romeo?' })

  first.send(streamError('see-other-host', `127.0.0.1:${other.address.port}`))
  await first.leaves()

  const second = await other.next()
  await second.acceptsExternal(stage.shown)
  await second.receives({ body: 'Wherefore art thou Romeo?' })
  await juliet.receivesNothing({ name: 'message' })
  assert.equal(montague.count, 1)
})

function streamError(condition: string, text: string): string {
  return `<stream:error><${condition} xmlns='${NS.streamError}'>${text}</${condition}></stream:error>`
}
