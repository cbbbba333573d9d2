import assert from 'node:assert/strict'
import { request } from 'node:http'
import { test } from 'node:test'
import type { RouteItem } from '../../src/admin/streams/route.ts'
import { tokenFor } from '../support/api.ts'
import { until } from '../support/cluster.ts'
import { startServer } from '../support/server.ts'
import { chat } from '../support/stanzas.ts'
import { DOMAIN, OTHER } from './cases.ts'

type Following = { readonly status: number; readonly events: AsyncIterator<string> }

/** The text of a response as it comes. */
function follow(url: string, token: string, args: object): Promise<Following> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
    const outgoing = request(url, { method: 'POST', headers }, (response) => {
      response.setEncoding('utf8')
      resolve({
        status: response.statusCode ?? 0,
        events: response[Symbol.asyncIterator]() as AsyncIterator<string>,
      })
    })
    outgoing.on('error', reject)
    outgoing.end(JSON.stringify(args))
  })
}

test('stanzas are followed over HTTP, by who may', async () => {
  await using server = await startServer({ domains: [DOMAIN, OTHER], http: {} })
  const alice = await server.connect('alice', 'phone')
  const bob = await server.connect('bob', 'desk')
  const url = `${server.urlOf()}/api/trace`
  const reader = await tokenFor(server, 'read-only')
  const warden = await tokenFor(server, 'domain-admin', [DOMAIN])

  for (const [token, args] of [
    [reader, { jid: alice.bareJid, body: true }],
    [warden, { jid: `dora@${OTHER}` }],
    [warden, { jid: OTHER, body: true }],
  ] as const) {
    assert.equal((await follow(url, token, args)).status, 403)
  }
  assert.equal((await follow(url, warden, { jid: '@' })).status, 400)
  assert.equal(server.server.router.tracer, undefined)

  const metadata = await follow(url, reader, { jid: alice.bareJid })
  const content = await follow(url, warden, { jid: alice.bareJid, body: true })
  assert.deepEqual([metadata.status, content.status], [200, 200])
  alice.send(chat(bob.bareJid, 'hush'))
  await bob.receives({ body: 'hush' })
  const first = await metadata.events.next()
  assert.match(first.value, /^event: item\ndata: \{.*"fate":"delivered"/)
  assert.ok(!first.value.includes('hush'))
  assert.match((await content.events.next()).value, /<body>hush<\/body>/)
  // Who goes away is not told any more, and in the end nobody is.
  await metadata.events.return?.()
  await content.events.return?.()
  await until(() => server.server.router.tracer === undefined, 'the end of following')
})

test('the route is watched over HTTP, by who may', async () => {
  await using server = await startServer({ domains: [DOMAIN, OTHER], http: {} })
  const alice = await server.connect('alice', 'phone')
  const bob = await server.connect('bob', 'desk')
  const url = `${server.urlOf()}/api/route/watch`
  const reader = await tokenFor(server, 'read-only')
  const warden = await tokenFor(server, 'domain-admin', [DOMAIN])
  assert.equal((await follow(url, warden, {})).status, 403)
  assert.equal((await follow(url, reader, { every: 61 })).status, 400)

  const { events } = await follow(url, reader, {})
  const next = async () => {
    const [, json = ''] = /^event: item\ndata: (.*)/.exec((await events.next()).value) ?? []
    const { sessions, received, stages, hooks, outcomes, sent } = JSON.parse(json) as RouteItem
    return {
      sessions,
      clients: received.find(({ from }) => from === 'c2s'),
      sent: sent.find(({ to }) => to === 'c2s'),
      delivery: stages.find(({ name }) => name === 'local_delivery'),
      filter: hooks.find(({ hook, by }) => hook === 'filter_local_packet' && by === 'archive'),
      delivered: outcomes.find(({ by, fate }) => by === 'sm' && fate === 'delivered'),
    }
  }
  const first = await next()
  assert.equal(first.sessions, 2)
  assert.deepEqual([first.clients?.per_second, first.delivery?.per_second], [null, null])
  for (let i = 0; i < 10; i++) alice.send(chat(bob.bareJid, `${i}`))
  for (let i = 0; i < 10; i++) await bob.receives({ body: `${i}` })
  // A second may end in their midst.
  const names = ['clients', 'sent', 'delivery', 'delivered'] as const
  const moving = new Set<string>()
  let last = first
  do {
    last = await next()
    for (const name of names) if (Number(last[name]?.per_second) > 0) moving.add(name)
  } while ((last.delivered?.stanzas ?? 0) - (first.delivered?.stanzas ?? 0) < 10)
  for (const name of names) {
    assert.ok((last[name]?.stanzas ?? 0) - (first[name]?.stanzas ?? 0) >= 10, name)
    assert.ok(moving.has(name), name)
  }
  assert.ok((last.filter?.runs ?? 0) - (first.filter?.runs ?? 0) >= 10)
  // What was not timed has no time.
  assert.equal(last.delivery?.mean_ms, null)
  await events.return?.()
})
