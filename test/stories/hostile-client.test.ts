import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Logger, silentLogger } from '../../src/core/log.ts'
import { el } from '../../src/xmpp/xml.ts'
import { NS } from '../support/client.ts'
import { DOMAIN, PASSWORD, startServer } from '../support/server.ts'
import { chat } from '../support/stanzas.ts'

const HEADER = `<?xml version='1.0'?><stream:stream xmlns='${NS.client}' xmlns:stream='${NS.streams}' to='${DOMAIN}' version='1.0'>`
const plain = Buffer.from(`\0romeo\0${PASSWORD}`).toString('base64')
const AUTH = `<auth xmlns='${NS.sasl}' mechanism='PLAIN'>${plain}</auth>`
const BIND = `<iq type='set' id='b'><bind xmlns='${NS.bind}'><resource>r</resource></bind></iq>`
const JULIET = `juliet@${DOMAIN}`

const ROSTER = el('query', { xmlns: 'jabber:iq:roster' })

/** What a client may say, in an order that makes sense or not, whole or not. */
const PARTS = [
  HEADER,
  AUTH,
  BIND,
  `<starttls xmlns='${NS.tls}'/>`,
  `<auth xmlns='${NS.sasl}' mechanism='SCRAM-SHA-1'>biwsbj1yb21lbyxyPWFiYw==</auth>`,
  `<response xmlns='${NS.sasl}'>Yz1iaXdzLHI9YWJjLHA9YWJj</response>`,
  `<abort xmlns='${NS.sasl}'/>`,
  '<presence/>',
  "<presence type='unavailable'/>",
  '<presence><priority>1000</priority></presence>',
  `<presence type='subscribe' to='${JULIET}/x'/>`,
  `<presence type='probe' to='${DOMAIN}'/>`,
  `<presence to='@'/>`,
  `<message to='${JULIET}' type='chat'><body>hi</body></message>`,
  "<message to='' type='&lt;'><body xmlns='urn:x'/></message>",
  `<message to='${JULIET}'><delay xmlns='urn:xmpp:delay' stamp='never' from='${DOMAIN}'/></message>`,
  "<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>",
  "<iq type='set' id='2'><query xmlns='jabber:iq:roster'><item jid='@'/></query></iq>",
  `<iq type='get' id='3' to='${DOMAIN}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>`,
  `<iq type='result' id='mk-1' to='${DOMAIN}'/>`,
  "<iq id='4'/>",
  "<enable xmlns='urn:xmpp:sm:3' resume='true'/>",
  "<resume xmlns='urn:xmpp:sm:3' h='99999999999' previd='x'/>",
  "<a xmlns='urn:xmpp:sm:3' h='-1'/>",
  "<r xmlns='urn:xmpp:sm:3'/>",
  "<inactive xmlns='urn:xmpp:csi:0'/>",
  "<iq type='set' id='5'><enable xmlns='urn:xmpp:carbons:2'/></iq>",
  '</stream:stream>',
  '<',
  '&#x110000;',
  ' \n\t ',
  '\u0000',
  '<a xmlns="',
  'é𝄞',
]

const LOGIN = `${HEADER}${AUTH}${HEADER}${BIND}`

const script = fc
  .tuple(
    fc.constantFrom(LOGIN, LOGIN, HEADER, ''),
    fc.array(fc.constantFrom(...PARTS), { minLength: 1, maxLength: 12, size: 'max' }),
  )
  .map(([beginning, parts]) => Buffer.from(beginning + parts.join('')))

/** Some bytes are others than they should be. */
const damaged = fc
  .tuple(script, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 }))
  .map(([bytes, changes]) => {
    const copy = Buffer.from(bytes)
    for (const [at, value] of changes) copy[at % copy.length] = value
    return copy
  })

test('whatever a client sends, the server answers or hangs up, and serves all others', async () => {
  const failures: string[] = []
  const log: Logger = {
    ...silentLogger,
    error: (event, fields) => void failures.push(`${event} ${fields?.error}`),
    child: () => log,
  }
  await using server = await startServer({ log, listen: { tls: 'starttls' } })
  await server.createAccount('romeo')
  const juliet = await server.connect('juliet')
  let sessions = 0
  let runs = 0
  server.server.hooks.on('sm_register_connection', (session) => {
    sessions++
    return session
  })
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(script, damaged),
      fc.array(fc.nat(), { maxLength: 8 }),
      async (bytes, cuts) => {
        runs++
        const socket = connect({ host: '127.0.0.1', port: server.port, noDelay: true })
        socket.on('error', () => {})
        socket.resume()
        const over = once(socket, 'close')
        const places = [...cuts.map((cut) => cut % bytes.length), bytes.length]
        let from = 0
        for (const to of places.toSorted((a, b) => a - b)) {
          socket.write(bytes.subarray(from, to))
          from = to
        }
        // Logging in takes as long as a few questions to the store; much else needs a login.
        for (let i = 0; i < 3; i++) await juliet.ask('get', juliet.bareJid, ROSTER)
        socket.end()
        await over
        assert.deepEqual(failures, [])
      },
    ),
    { numRuns: 300, interruptAfterTimeLimit: 20_000, endOnFailure: true },
  )
  assert.ok(sessions > runs / 10, 'hardly anybody got as far as a session')
  juliet.forgets()
  juliet.send(chat(juliet.fullJid, 'still here'))
  await juliet.receives({ body: 'still here' })
})
