import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Component } from '../core/components.ts'
import { Envelope, SERVER } from '../core/envelope.ts'
import { Hooks } from '../core/hooks.ts'
import { LocalRoutes } from '../core/local-routes.ts'
import { silentLogger } from '../core/log.ts'
import { answered } from '../core/outcome.ts'
import { parseJid } from '../xmpp/jid.ts'
import { Stanza } from '../xmpp/stanza.ts'
import { accessRule } from './access.ts'
import { ComponentRegistry, type ConflictBehaviour } from './registry.ts'

const IRC = 'irc.example.com'

function setUp() {
  const hooks = new Hooks(silentLogger)
  const routes = new LocalRoutes()
  const registry = new ComponentRegistry({
    hooks,
    routes,
    log: silentLogger,
    cluster: () => ({ componentConnected() {}, componentChanged() {}, componentGone() {} }),
  })
  const closed: string[] = []
  let lastId = 0
  const connection = (changes: Partial<Component> = {}): Component => {
    const id = `c${++lastId}`
    const self: Component = {
      id,
      domains: [IRC],
      isSubdomain: false,
      isHidden: false,
      isLocal: true,
      handle: () => answered(id),
      awaits: () => false,
      async close(error) {
        closed.push(`${id} ${error.condition}`)
        registry.unregister(self)
      },
      ...changes,
    }
    return self
  }
  const register = (component: Component, onConflict: ConflictBehaviour = 'disconnect') =>
    registry.register(component, { onConflict, admit: () => true })
  return { hooks, routes, registry, connection, register, closed }
}

function from(sender: string, stanza = Stanza.build('message')): Envelope {
  return new Envelope(parseJid(sender), parseJid(`nurse@${IRC}`), stanza, SERVER)
}

const senders = Array.from({ length: 40 }, (_, i) => from(`user${i}@example.org/r${i}`))

test('this node comes first; connections of other nodes take what it has none for', () => {
  const { registry, connection, register } = setUp()
  const there = connection({ isLocal: false })
  assert.equal(register(there), true)
  assert.equal(registry.onThisNode(from('romeo@example.org')), undefined)
  assert.equal(registry.onAnyNode(from('romeo@example.org')), there)

  const here = connection()
  assert.equal(register(here), true)
  for (const envelope of senders) {
    assert.equal(registry.onThisNode(envelope), here)
    assert.equal(registry.onAnyNode(envelope), here)
  }
  registry.unregister(here)
  assert.equal(registry.onAnyNode(from('romeo@example.org')), there)
})

test('of several elsewhere each has its senders, whatever their resource', () => {
  const { registry, connection, register } = setUp()
  for (let i = 0; i < 3; i++) void register(connection({ isLocal: false }))
  const serving = new Set(senders.map((envelope) => registry.onAnyNode(envelope)?.id))
  assert.deepEqual([...serving].toSorted(), ['c1', 'c2', 'c3'])
  for (const envelope of senders) {
    const other = from(`${envelope.from.bare}/elsewhere`)
    assert.equal(registry.onAnyNode(other), registry.onAnyNode(envelope))
  }
})

test('an answer goes to the connection that asked', () => {
  const { registry, connection, register } = setUp()
  void register(connection(), 'share')
  const asking = connection({ awaits: ({ stanza }) => stanza.id === 'asked' })
  void register(asking, 'share')
  for (const { from: sender } of senders) {
    const answer = Stanza.build('iq', { type: 'result', id: 'asked' })
    assert.equal(registry.onThisNode(from(sender.full, answer)), asking)
  }
})

test('kick_old replaces the connections of all nodes', async () => {
  const { registry, connection, register, closed } = setUp()
  void register(connection({ isLocal: false }))
  void register(connection())
  const last = connection()
  assert.equal(await register(last, 'kick_old'), true)
  assert.deepEqual(closed, ['c1 conflict', 'c2 conflict'])
  assert.deepEqual([...registry.connections], [last])
})

test('one that does not go keeps its domain', async () => {
  const { connection, register } = setUp()
  void register(connection({ close: async () => {} }))
  assert.equal(await register(connection(), 'kick_old'), false)
})

test('who does not want to be admitted any more is not', () => {
  const { registry, connection } = setUp()
  const gone = registry.register(connection(), { onConflict: 'share', admit: () => false })
  assert.equal(gone, false)
  assert.equal(registry.has(IRC), false)
})

test('a domain appears with its first connection and goes with its last', () => {
  const { hooks, registry, connection, register } = setUp()
  const seen: string[] = []
  hooks.on('register_subhost', (domain) => {
    seen.push(`+${domain}`)
    throw new Error('on purpose')
  })
  hooks.on('unregister_subhost', (domain) => {
    seen.push(`-${domain} ${registry.has(domain)}`)
    return domain
  })
  const first = connection()
  const second = connection()
  void register(first, 'share')
  void register(second, 'share')
  registry.unregister(first)
  registry.unregister(first)
  assert.deepEqual(registry.domains(), [IRC])
  registry.unregister(second)
  assert.deepEqual(seen, [`+${IRC}`, `-${IRC} true`])
  assert.deepEqual(registry.domains(), [])
})

test('a subdomain is served by local delivery alone, and by one kind of component', () => {
  const { routes, registry, connection, register } = setUp()
  const type = 'default'
  const handle = () => answered('local')
  routes.add({ domain: 'example.com', domainType: type, isHosted: true, handle })
  const irc = connection({ isSubdomain: true })
  assert.equal(register(irc), true)
  assert.equal(registry.onAnyNode(from('romeo@example.org')), undefined)
  const route = routes.find(IRC)
  assert.equal(route?.domainType, type)
  assert.equal(route?.isHosted, false)
  assert.deepEqual(route?.handle(from('romeo@example.org')), answered(irc.id))
  assert.equal(register(connection(), 'share'), false)
  registry.unregister(irc)
  assert.equal(routes.find(IRC), undefined)
})

test('access: everybody, whoever is served here, or those named', () => {
  const romeo = parseJid('romeo@example.org/orchard')
  const isOurs = (domain: string) => domain === 'example.org'
  assert.equal(accessRule('all', isOurs)(parseJid('a@b.c')), true)
  assert.equal(accessRule('local', isOurs)(romeo), true)
  assert.equal(accessRule('local', isOurs)(parseJid('a@b.c')), false)
  for (const name of ['example.org', 'romeo@example.org', 'romeo@example.org/orchard']) {
    assert.equal(accessRule([name], isOurs)(romeo), true, name)
  }
  for (const name of ['org', 'romeo@example.org/other', 'nurse@example.org']) {
    assert.equal(accessRule([name], isOurs)(romeo), false, name)
  }
})
