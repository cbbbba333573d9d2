import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Client } from '../test/support/client.ts'
import { TestComponent } from '../test/support/component.ts'
import { chat } from '../test/support/stanzas.ts'
import { ConfigError, createServer, defineModule, dropped, JidError } from './index.ts'

test('a server without settings listens on a free port of this machine', async () => {
  await using server = await createServer()
  await server.start()

  const [address] = server.listeners
  assert.equal(address?.host, '127.0.0.1')
  assert.notEqual(address?.port, 0)
})

test('a component connects where components may', async () => {
  await using server = await createServer({ components: { secret: 'rosebud' } })
  await server.start()

  const [address] = server.componentListeners
  const { host, port = 0 } = address ?? {}
  assert.equal(host, '127.0.0.1')
  await using bot = await TestComponent.open({ host, port, domain: 'bot.localhost' })
  await bot.startStream()
  await bot.shakesHands('rosebud')
})

test('accounts can be had before the server listens', async () => {
  await using server = await createServer()
  const { accounts } = server

  assert.equal(await accounts.register('juliet@localhost', 'Capulet'), true)
  assert.equal(await accounts.register('juliet@localhost', 'Capulet'), false)
  assert.equal(await accounts.exists('juliet@localhost'), true)
  assert.equal(await accounts.setPassword('juliet@localhost', 'Montague'), true)
  assert.equal(await accounts.remove('juliet@localhost'), true)
  assert.equal(await accounts.exists('juliet@localhost'), false)
})

test('no account is made where there can be none', async () => {
  await using server = await createServer()

  for (const address of ['localhost', 'juliet@verona.example', 'juliet@localhost/balcony', '@']) {
    await assert.rejects(server.accounts.register(address, 'x'), JidError)
  }
})

test('settings that cannot be are refused, and leave nothing behind', async () => {
  await assert.rejects(createServer({ domains: ['not a domain'] }), ConfigError)
  await assert.rejects(createServer({ modules: { nothing: {} } }), ConfigError)
  await assert.rejects(createServer({ listen: { port: -1 } }), ConfigError)
})

test('a module that cannot start keeps the server from starting', async () => {
  const broken = defineModule({
    name: 'broken',
    start() {
      throw new Error('no luck')
    },
  })

  await assert.rejects(createServer({ use: [broken] }), /broken could not start: no luck/)
})

test('modules are started with their settings and stopped with the server', async () => {
  const log: string[] = []
  const module = defineModule({
    name: 'example',
    start({ onStop, config }) {
      log.push(`start ${JSON.stringify(config)}`)
      onStop(() => void log.push('stop'))
    },
  })
  const server = await createServer({ use: [{ module }] })
  await server.start()
  await server.stop()
  await server.stop()

  assert.deepEqual(log, ['start {}', 'stop'])
})

test('a data directory is made, and kept', async (t) => {
  const parent = mkdtempSync(join(tmpdir(), 'meerkat-'))
  t.after(() => rmSync(parent, { recursive: true }))
  const dataDir = join(parent, 'data')
  {
    await using server = await createServer({ dataDir })
    await server.accounts.register('juliet@localhost', 'Capulet')
  }

  assert.ok(existsSync(dataDir))
  await using again = await createServer({ dataDir })
  assert.equal(await again.accounts.exists('juliet@localhost'), true)
})

test('a port that is taken is a failure to start, not of the process', async () => {
  await using one = await createServer()
  await one.start()
  const [{ port = 0 } = {}] = one.listeners
  const other = await createServer({ listen: { port } })

  await assert.rejects(other.start(), { code: 'EADDRINUSE' })
})

test('routing modules in code stand where they are put', async () => {
  const seen: string[] = []
  await using server = await createServer({
    listen: { tls: 'none' },
    routing: [
      'global',
      {
        name: 'mine',
        route: (envelope) =>
          envelope.stanza.kind === 'message' ? dropped('mine', 'to show it') : envelope,
      },
      'localdomain',
    ],
  })
  server.on('message_routed', (outcome, { envelope }) => {
    if (envelope.stanza.kind === 'message') seen.push(outcome.by)
    return outcome
  })
  await server.accounts.register('juliet@localhost', 'Capulet')
  await server.start()
  const [address] = server.listeners
  assert(address !== undefined)
  await using juliet = await Client.open({ ...address, domain: 'localhost' })
  await juliet.startStream()
  await juliet.authenticate({ localpart: 'juliet', password: 'Capulet' })
  await juliet.bind()

  juliet.send(chat('juliet@localhost', 'nobody hears me'))
  await juliet.roundTrip()

  assert.deepEqual(seen, ['mine'])
})
