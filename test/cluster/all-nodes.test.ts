/** What an operator sees of a cluster, whichever node is asked. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { domainCommands } from '../../src/admin/commands/domain.ts'
import { ask, tokenFor } from '../support/api.ts'
import { writeSelfSigned } from '../support/certificates.ts'
import { skipWithoutCluster, TestCluster, until } from '../support/cluster.ts'
import { startPair } from '../support/cluster-pair.ts'
import { emptyDirectory } from '../support/directory.ts'
import { giveAsOperator as give } from '../support/operator.ts'
import { DOMAIN, type TestServer } from '../support/server.ts'
import { chat } from '../support/stanzas.ts'

type Stages = {
  readonly stages: readonly { readonly name: string; readonly stanzas: number }[]
  readonly silent: readonly string[]
}
type Sessions = { readonly sessions: readonly { readonly jid: string; readonly node: string }[] }
type Components = {
  readonly components: readonly { readonly node: string; readonly here: boolean }[]
}
type Enabled = { readonly failures: readonly object[] }

test('each node tells of the route, sessions and connections of all', {
  skip: skipWithoutCluster,
}, async () => {
  await using pair = await startPair({ http: {}, component: {} })
  const { one, two } = pair
  const token = await tokenFor(one, 'admin')
  const giveTo = async <Result>(node: TestServer, name: string, args: object = {}) => {
    const url = `${node.urlOf()}/api/${name.replace(' ', '/')}`
    const { status, body } = await ask<Result>(url, { token, args })
    assert.equal(status, 200, JSON.stringify(body))
    return body
  }
  const romeo = await one.connect('romeo', 'orchard')
  const juliet = await two.connect('juliet', 'balcony')
  await two.connectComponent('irc.example.net')
  for (let n = 0; n < 5; n++) romeo.send(chat(juliet.fullJid, `line ${n}`))
  for (let n = 0; n < 5; n++) await juliet.receives({ body: `line ${n}` })

  const written = async (args: object, node = one) => {
    const { stages, silent } = await giveTo<Stages>(node, 'route list', args)
    assert.deepEqual(silent, [])
    const found = stages.find(({ name }) => name === 'c2s_out')
    return found?.stanzas ?? 0
  }
  const parts = [await written({ node: 'one' }), await written({ node: 'two' })] as const
  assert.ok(parts.every((each) => each > 0))
  assert.equal(await written({}), parts[0] + parts[1])
  assert.equal(await written({}, two), parts[0] + parts[1])

  for (const node of [one, two]) {
    const { sessionManager, components: known } = node.server
    await until(() => sessionManager.sessions.size === 2 && [...known.connections].length === 1)
    const { sessions } = await giveTo<Sessions>(node, 'session list')
    assert.deepEqual(
      new Map(sessions.map((each) => [each.jid, each.node])),
      new Map([
        [romeo.fullJid, 'one'],
        [juliet.fullJid, 'two'],
      ]),
    )
    const { components } = await giveTo<Components>(node, 'component list')
    assert.deepEqual(
      components.map((each) => [each.node, each.here]),
      [['two', node === two]],
    )
  }
  // Whichever node has it.
  await give(one, 'session kick', { jid: juliet.fullJid })
  await juliet.receivesStreamError('policy-violation')
})

test('who adds a domain is told of nodes that cannot host it, until they can', {
  skip: skipWithoutCluster,
}, async () => {
  const VERONA = 'verona.example'
  await using cluster = await TestCluster.start({ listen: { tls: 'starttls' } })
  await using stack = new AsyncDisposableStack()
  const node = async (name: string) => {
    const { path: directory } = stack.use(await emptyDirectory())
    const own = await writeSelfSigned(directory, DOMAIN)
    const domains = { [DOMAIN]: { certificate: own, key: own } }
    return { directory, server: await cluster.node(name, { tls: { directory, domains } }) }
  }
  const one = await node('one')
  const two = await node('two')
  const hosting = () => [one, two].map(({ server }) => server.server.routes.isHosted(VERONA))

  await writeSelfSigned(one.directory, VERONA)
  const added = await give(one.server, 'domain add', { domain: VERONA })
  assert.deepEqual(hosting(), [true, false])
  const expected = join(two.directory, `${VERONA}.pem`)
  const reason = `${VERONA} has no certificate, expected ${expected}`
  assert.deepEqual(added, { domain: VERONA, failures: [{ node: 'two', reason }] })
  const command = domainCommands.find(({ name }) => name === 'domain add')
  assert.equal(command?.text(added), `${VERONA} is hosted\nwarning: not on node two: ${reason}`)
  await assert.rejects(node('three'), /verona\.example has no certificate/)

  await writeSelfSigned(two.directory, VERONA)
  assert.deepEqual(
    (await give<Enabled>(one.server, 'domain enable', { domain: VERONA })).failures,
    [],
  )
  assert.deepEqual(hosting(), [true, true])
})
