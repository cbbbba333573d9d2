import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type Element, el } from '../../src/xmpp/xml.ts'
import type { Client } from '../support/client.ts'
import { ComponentProcess } from '../support/component-process.ts'
import { IrcUser, NGIRCD, Ngircd } from '../support/ngircd.ts'
import { missing } from '../support/real-client.ts'
import { SECRET, startServer, type TestServer } from '../support/server.ts'
import { withoutSlixmpp } from '../support/slixmpp.ts'
import { chat } from '../support/stanzas.ts'

const IRC = 'irc.im.example.com'
const INFO = 'http://jabber.org/protocol/disco#info'
const ITEMS = 'http://jabber.org/protocol/disco#items'
const FORM = 'jabber:x:data'
const MUC = 'http://jabber.org/protocol/muc'
const COMMANDS = 'http://jabber.org/protocol/commands'

const ECHO = fileURLToPath(new URL('../support/slixmpp-component.py', import.meta.url))
const BIBOUMI = '/usr/bin/biboumi'

function portOf(server: TestServer): number {
  return server.server.componentListeners[0]?.address.port ?? 0
}

function connectSlixmpp(server: TestServer, secret = SECRET): Promise<ComponentProcess> {
  const options = { jid: IRC, secret, port: portOf(server) }
  return ComponentProcess.connect(server, '/usr/bin/python3', [ECHO, JSON.stringify(options)])
}

/** A gateway to IRC. */
async function connectBiboumi(server: TestServer): Promise<ComponentProcess> {
  const file = join(server.directory, 'biboumi.cfg')
  await writeFile(
    file,
    `hostname=${IRC}
password=${SECRET}
xmpp_server_ip=127.0.0.1
port=${portOf(server)}
identd_port=0
db_name=${join(server.directory, 'biboumi.sqlite')}
`,
  )
  return await ComponentProcess.connect(server, BIBOUMI, [file])
}

function identities(info: Element): string[] {
  const all = info.child('query', INFO)?.elements('identity') ?? []
  return all.map((identity) => `${identity.attr('category')}/${identity.attr('type')}`)
}

test('slixmpp: a component answers and is discovered', { skip: withoutSlixmpp }, async () => {
  await using server = await startServer({ component: {} })
  await using _ = await connectSlixmpp(server)
  const romeo = await server.connect('romeo')

  await romeo.sends(chat(`nurse@${IRC}`, 'Art thou not Romeo?'))
  await romeo.receives({ from: `nurse@${IRC}`, body: 'ART THOU NOT ROMEO?' })
  const info = await romeo.ask('get', IRC, el('query', { xmlns: INFO }))
  assert.ok(identities(info).includes('gateway/irc'))
  const pong = await romeo.ask('get', IRC, el('ping', { xmlns: 'urn:xmpp:ping' }))
  assert.equal(pong.attr('type'), 'result')
})

test('slixmpp: a component with a wrong secret ends', { skip: withoutSlixmpp }, async () => {
  await using server = await startServer({ component: {} })
  await assert.rejects(connectSlixmpp(server, 'wrong'), /ended:/)
})

test('biboumi: a gateway to IRC is at hand', { skip: missing(BIBOUMI) }, async () => {
  await using server = await startServer({ component: {} })
  await using _ = await connectBiboumi(server)
  const romeo = await server.connect('romeo')

  const items = await romeo.ask('get', server.domain, el('query', { xmlns: ITEMS }))
  assert.deepEqual(
    items
      .child('query', ITEMS)
      ?.elements('item')
      .map((item) => item.attr('jid')),
    [IRC],
  )
  const info = await romeo.ask('get', IRC, el('query', { xmlns: INFO }))
  assert.ok(identities(info).includes('conference/irc'), String(info))

  const commands = await romeo.ask('get', IRC, el('query', { xmlns: ITEMS, node: COMMANDS }))
  const nodes = commands
    .child('query', ITEMS)
    ?.elements('item')
    .map((item) => item.attr('node'))
  assert.ok(nodes?.includes('ping'), String(commands))
  const command = el('command', { xmlns: COMMANDS, node: 'ping', action: 'execute' })
  const answer = await romeo.ask('set', IRC, command)
  const done = answer.child('command', COMMANDS)
  assert.equal(done?.attr('status'), 'completed')
  assert.equal(done?.child('note')?.text, 'Pong')

  // There is no IRC server to join, and it says so.
  await romeo.sends(
    el('presence', { to: `#verona%127.0.0.1@${IRC}/romeo`, id: 'join' }, el('x', { xmlns: MUC })),
  )
  await romeo.receives({ from: `127.0.0.1@${IRC}`, body: /^Connection failed/ })
})

/** The IRC server is not where such servers are: says so to the gateway (XEP-0050). */
async function usePort(romeo: Client, irc: string, port: number): Promise<void> {
  const command = { xmlns: COMMANDS, node: 'configure' }
  const asked = await romeo.ask('set', irc, el('command', { ...command, action: 'execute' }))
  const sessionid = asked.child('command', COMMANDS)?.attr('sessionid')
  const field = (name: string, ...values: string[]) =>
    el('field', { var: name }, ...values.map((value) => el('value', {}, value)))
  const form = el(
    'x',
    { xmlns: FORM, type: 'submit' },
    field('ports', String(port)),
    field('tls_ports'),
  )
  const done = await romeo.ask(
    'set',
    irc,
    el('command', { ...command, sessionid, action: 'complete' }, form),
  )
  assert.equal(done.child('command', COMMANDS)?.attr('status'), 'completed', String(done))
}

test('biboumi: a user joins a channel, and speaks with others there', {
  skip: missing(BIBOUMI, NGIRCD),
}, async () => {
  await using server = await startServer({ component: {} })
  await using ngircd = await Ngircd.start(server.directory)
  await using _ = await connectBiboumi(server)
  using mercutio = await IrcUser.connect(ngircd, 'mercutio')
  mercutio.says('JOIN #verona')
  await mercutio.hears(/ 366 /)
  const romeo = await server.connect('romeo')
  await romeo.becomesAvailable()
  await usePort(romeo, `127.0.0.1@${IRC}`, ngircd.port)
  const room = `#verona%127.0.0.1@${IRC}`

  await romeo.sends(el('presence', { to: `${room}/romeo` }, el('x', { xmlns: MUC })))
  await mercutio.hears(/^:romeo!\S+ JOIN :?#verona/)
  await romeo.receives({ name: 'presence', type: undefined, from: `${room}/mercutio` })
  await romeo.receives({ name: 'presence', type: undefined, from: `${room}/romeo` })

  await romeo.sends(
    el('message', { to: room, type: 'groupchat', id: 'm1' }, el('body', {}, 'Peace, Mercutio')),
  )
  await mercutio.hears(/^:romeo!\S+ PRIVMSG #verona :Peace, Mercutio$/)
  await romeo.receives({ from: `${room}/romeo`, body: 'Peace, Mercutio' })
  mercutio.says('PRIVMSG #verona :True, I talk of dreams')
  await romeo.receives({
    from: `${room}/mercutio`,
    type: 'groupchat',
    body: 'True, I talk of dreams',
  })

  await romeo.sends(chat(`mercutio%127.0.0.1@${IRC}`, 'to you alone'))
  await mercutio.hears(/^:romeo!\S+ PRIVMSG mercutio :to you alone$/)
  mercutio.says('PRIVMSG romeo :and to you')
  await romeo.receives({ type: 'chat', body: 'and to you' })

  await romeo.sends(el('presence', { to: `${room}/romeo`, type: 'unavailable' }))
  await romeo.receives({ name: 'presence', type: 'unavailable', from: `${room}/romeo` })
  await mercutio.hears(/^:romeo!\S+ (PART #verona|QUIT)/)
})
