import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { HookName } from '../../src/core/hooks.ts'
import { el } from '../../src/xmpp/xml.ts'
import { NS } from '../support/client.ts'
import { Internet } from '../support/federation.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { chat } from '../support/stanzas.ts'
import { connectResumable } from '../support/stream-management.ts'

/** Tells of hooks that they were run, whatever other handlers make of it. */
class Watch {
  readonly #waiting = new Map<HookName, PromiseWithResolvers<void>>()

  constructor({ server }: TestServer, names: readonly HookName[]) {
    for (const name of names) {
      const ran = Promise.withResolvers<void>()
      this.#waiting.set(name, ran)
      const handler = (acc: unknown) => {
        this.#waiting.delete(name)
        ran.resolve()
        return acc
      }
      server.hooks.on(name, handler as never, { order: 0, by: 'watch' })
    }
  }

  /** Resolves when all have been run. */
  async ran(...names: readonly HookName[]): Promise<void> {
    await Promise.all(names.map((name) => this.#waiting.get(name)?.promise))
  }

  get missing(): readonly HookName[] {
    return [...this.#waiting.keys()]
  }
}

test('the hooks of a client’s stream, from its features to its last presence', async () => {
  await using server = await startServer()
  const watch = new Watch(server, [
    'c2s_stream_features',
    'user_open_session',
    'session_opening_allowed_for_user',
    'sm_register_connection',
    'user_send_packet',
    'user_send_presence',
    'set_presence',
    'user_available',
    'resend_offline_messages',
    'user_send_xmlel',
    'user_stop_request',
    'user_terminate',
    'unset_presence',
    'sm_remove_connection',
  ])
  const romeo = await server.connect('romeo')
  romeo.send(el('active', { xmlns: 'urn:xmpp:csi:0' }))
  await romeo.roundTrip()

  await server.sessionOf(romeo).close()

  await watch.ran('sm_remove_connection')
  assert.deepEqual(watch.missing, [])
})

for (const [hook, isThere] of [
  ['sm_message_delivered', true],
  ['sm_message_kept', false],
] as const) {
  test(`a handler of ${hook} that fails takes nothing back`, async () => {
    await using server = await startServer()
    const romeo = await server.connect('romeo')
    const juliet = await server.connect('juliet', 'balcony', {
      priority: isThere ? 0 : undefined,
    })
    const fail = () => {
      throw new Error('nobody can help it')
    }
    server.server.hooks.on(hook, fail, { order: 1, by: 'test' })

    romeo.send(chat('juliet@im.example.com', 'Art thou not Romeo?'))

    await romeo.receivesNothing()
    if (!isThere) juliet.send(el('presence'))
    await juliet.receives({ name: 'message', body: 'Art thou not Romeo?' })
  })
}

test('the hooks of a message, an iq and a presence from one client to another', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  const juliet = await server.connect('juliet')
  const watch = new Watch(server, [
    'user_send_message',
    'user_send_iq',
    'filter_packet',
    'filter_local_packet',
    'privacy_check_packet',
    'user_receive_packet',
    'user_receive_message',
    'user_receive_iq',
    'user_receive_presence',
    'xmpp_presend_element',
  ])

  romeo.send(chat(juliet.fullJid, 'Art thou not Romeo?'))
  romeo.send(el('iq', { type: 'get', id: 'q', to: juliet.fullJid }, el('ping', { xmlns: NS.ping })))
  romeo.send(el('presence', { to: juliet.fullJid }))

  await juliet.receives({ name: 'presence', from: romeo.fullJid })
  assert.deepEqual(watch.missing, [])
})

test('the hooks of rosters and of discovery', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  const juliet = await server.connect('juliet')
  const watch = new Watch(server, [
    'roster_out_subscription',
    'roster_in_subscription',
    'roster_get_jid_info',
    'disco_local_features',
    'disco_local_items',
    'disco_sm_features',
  ])

  romeo.send(el('presence', { type: 'subscribe', to: juliet.bareJid }))
  await juliet.receives({ type: 'subscribe' })
  juliet.send(el('presence', { type: 'subscribed', to: romeo.bareJid }))
  await romeo.receives({ name: 'presence', from: juliet.fullJid })
  for (const to of [server.domain, juliet.bareJid]) {
    for (const kind of ['info', 'items']) {
      await romeo.ask('get', to, el('query', { xmlns: `http://jabber.org/protocol/disco#${kind}` }))
    }
  }

  assert.deepEqual(watch.missing, [])
})

test('the hooks of a message that finds nobody', async () => {
  await using server = await startServer({ modules: { offline: { max_messages: 1 } } })
  await server.createAccount('juliet')
  const romeo = await server.connect('romeo')
  const watch = new Watch(server, ['does_user_exist', 'offline_message', 'failed_to_store_message'])

  romeo.send(chat(`juliet@${server.domain}`, 'first'), chat(`juliet@${server.domain}`, 'second'))

  await romeo.receives({ type: 'error', body: 'second' })
  assert.deepEqual(watch.missing, [])
})

test('the hooks of a lost connection, and of what it had not delivered', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  const { client: juliet } = await connectResumable(server, 'juliet', 'balcony', { priority: 0 })
  const session = server.sessionOf(juliet)
  const watch = new Watch(server, [
    'user_socket_closed',
    'unacknowledged_message',
    'reroute_unacked_messages',
    'filter_unacknowledged_messages',
    'remove_user',
  ])

  romeo.send(chat(juliet.fullJid, 'Art thou not Romeo?'))
  await juliet.receives({ body: /Romeo/ })
  await juliet.vanishes()
  await watch.ran('unacknowledged_message')
  await server.server.lifecycle.remove(session.jid.toBare())

  await watch.ran('filter_unacknowledged_messages')
  assert.deepEqual(watch.missing, [])
})

test('the hooks of components', async () => {
  await using server = await startServer({ component: {} })
  const watch = new Watch(server, ['register_subhost', 'packet_to_component', 'unregister_subhost'])
  const romeo = await server.connect('romeo')
  const rooms = await server.connectComponent('rooms.example')

  romeo.send(chat('verona@rooms.example', 'Here’s much to do with hate'))
  await rooms.receives({ body: /hate/ })
  await rooms.leaves()

  await watch.ran('unregister_subhost')
  assert.deepEqual(watch.missing, [])
})

test('the hooks between servers', async () => {
  await using internet = await Internet.start()
  const verona = await internet.server('verona.example')
  const mantua = await internet.server('mantua.example')
  const leaving = new Watch(verona, ['s2s_allow_host', 's2s_send_packet'])
  const coming = new Watch(mantua, ['s2s_receive_packet'])
  const romeo = await verona.connect('romeo')
  const balthasar = await mantua.connect('balthasar')

  romeo.send(chat(balthasar.bareJid, 'How fares my Juliet?'))

  await balthasar.receives({ body: /Juliet/ })
  assert.deepEqual([...leaving.missing, ...coming.missing], [])
})

// --- Who may reach whom is asked once, and whoever cannot say lets nobody pass.

test('a module’s own rule refuses what comes and what goes', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  const tybalt = await server.connect('tybalt')
  const asked: string[] = []
  server.server.hooks.on('privacy_check_packet', (verdict, { owner, envelope, direction }) => {
    if (envelope.stanza.kind === 'message') asked.push(`${owner.local} ${direction}`)
    return owner.local === 'tybalt' ? 'deny' : verdict
  })

  romeo.send(chat(tybalt.bareJid, 'Good Capulet'))
  await romeo.receivesNext({ error: 'service-unavailable' })
  tybalt.send(chat(romeo.bareJid, 'Thou art a villain'))
  await tybalt.receivesNext({ error: 'not-acceptable' })

  await romeo.receivesNothing()
  assert.deepEqual(asked, ['romeo out', 'tybalt in', 'tybalt out'])
})

test('where a rule cannot be read, nothing passes', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  const juliet = await server.connect('juliet')
  server.server.hooks.on('privacy_check_packet', (verdict, { direction }) => {
    if (direction === 'in') throw new Error('the rules are unreadable')
    return verdict
  })

  romeo.send(chat(juliet.bareJid, 'Art thou not Romeo?'))

  await romeo.receivesNext({ error: 'internal-server-error' })
})
