import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { type NatsSettings, openNats } from '../../src/cluster/nats.ts'
import { RegistryConflict } from '../../src/cluster/transport.ts'
import { makeCertificate } from '../../src/connection/certificate.ts'
import { silentLogger } from '../../src/core/log.ts'
import { emptyDirectory } from '../support/directory.ts'
import { NatsServer, skipWithoutNats } from '../support/nats.ts'
import { Relay } from '../support/relay.ts'

const options = { skip: skipWithoutNats }

const HOUR = 3_600_000

async function connects(server: NatsServer, settings: Partial<NatsSettings> = {}): Promise<void> {
  const all = { servers: [server.url], name: 'test', node: 'one', replicas: 1, ...settings }
  const { transport, registry } = await openNats(all, silentLogger)
  await registry.put('key', 'value', 0)
  assert.equal((await registry.get('key'))?.value, 'value')
  await registry.close()
  await transport.close()
}

test('NATS is told who comes', options, async () => {
  await using server = await NatsServer.start(['-js', '--user', 'meerkat', '--pass', 'secret'])
  await connects(server, { user: 'meerkat', password: 'secret' })
  for (const wrong of [{}, { user: 'meerkat', password: 'guessed' }]) {
    await assert.rejects(connects(server, wrong), (error: Error) => {
      assert.match(error.message, new RegExp(`^NATS at ${server.url} cannot be used: `))
      assert.doesNotMatch(error.message, /guessed/)
      return true
    })
  }
})

test('who cannot reach NATS at its start says where it has looked', options, async () => {
  await using server = await NatsServer.start()
  await using relay = await Relay.start({ host: '127.0.0.1', port: server.port })
  const url = `nats://127.0.0.1:${relay.address.port}`
  relay.goDown()
  await assert.rejects(connects(server, { servers: [url] }), (error: Error) => {
    assert.match(error.message, new RegExp(`^NATS at ${url} cannot be used: .`))
    return true
  })
  relay.comeBack()
  await connects(server, { servers: [url] })
})

test('NATS is spoken to over TLS, if it is who it should be', options, async () => {
  await using directory = await emptyDirectory()
  const at = (name: string) => join(directory.path, name)
  const validity = { from: Date.now() - HOUR, until: Date.now() + HOUR }
  const authority = makeCertificate({ name: 'authority', isAuthority: true, ...validity })
  const own = makeCertificate({
    name: 'localhost',
    domains: ['localhost'],
    issuer: authority,
    ...validity,
  })
  writeFileSync(at('ca.pem'), String(authority.certificate))
  writeFileSync(at('server.pem'), own.pem)
  const tls = ['--tls', '--tlscert', at('server.pem'), '--tlskey', at('server.pem')]
  await using server = await NatsServer.start(['-js', ...tls])
  const servers = [`tls://localhost:${server.port}`]
  await connects(server, { servers, tls: { ca: at('ca.pem') } })
  await assert.rejects(connects(server, { servers, tls: {} }), /^Error: NATS at tls:\/\/localhost/)
})

test('what is lost on its way to NATS is sent again, and written once', options, async () => {
  await using server = await NatsServer.start()
  await using relay = await Relay.start({ host: '127.0.0.1', port: server.port })
  const servers = [`nats://127.0.0.1:${relay.address.port}`]
  const settings = { servers, name: 'test', node: 'one', replicas: 1 }
  const { transport, registry } = await openNats(settings, silentLogger)
  const first = await registry.put('key', 'one', 0)
  relay.silence()
  const began = performance.now()
  const writing = registry.put('key', 'two', first)
  setTimeout(() => relay.comeBack(), 100)
  const second = await writing
  assert.ok(performance.now() - began < 4_500)
  assert.equal(second, first + 1)
  relay.silence()
  const reading = registry.get('key')
  setTimeout(() => relay.comeBack(), 100)
  assert.deepEqual(await reading, { key: 'key', value: 'two', revision: second })
  await registry.close()
  await transport.close()
})

test('NATS without JetStream is refused, with what is missing', options, async () => {
  await using server = await NatsServer.start([])
  await assert.rejects(connects(server), /JetStream must be enabled/)
})

test('of all who write a row at once one is first, and the others know', options, async () => {
  await using server = await NatsServer.start()
  const settings = { servers: [server.url], name: 'test', replicas: 1 }
  const one = await openNats({ ...settings, node: 'one' }, silentLogger)
  const two = await openNats({ ...settings, node: 'two' }, silentLogger)
  const keys = Array.from({ length: 200 }, (_, index) => `key.${index}`)
  const written = await Promise.all(
    keys.map(async (key) => {
      const writes = [one, two].map(({ registry }) => registry.put(key, 'value', 0))
      const results = await Promise.allSettled(writes)
      const revisions = results.flatMap((one) => (one.status === 'fulfilled' ? one.value : []))
      const reasons = results.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []))
      assert.equal(revisions.length, 1)
      assert.ok(reasons[0] instanceof RegistryConflict)
      return revisions[0] as number
    }),
  )
  assert.equal(new Set(written).size, keys.length)
  const [key, revision] = ['key.0', written[0] as number]
  assert.deepEqual(await two.registry.get(key), { key, value: 'value', revision })
  const removed = await one.registry.remove(key, revision)
  assert.equal((await two.registry.get(key))?.value, undefined)
  await assert.rejects(two.registry.put(key, 'late', revision), RegistryConflict)
  assert.ok((await two.registry.put(key, 'anew', 0)) > removed)
  for (const { registry, transport } of [one, two]) {
    await registry.close()
    await transport.close()
  }
})

test('a write that is not answered is not waited for for ever', options, async () => {
  await using server = await NatsServer.start()
  const settings = { servers: [server.url], name: 'test', node: 'one', replicas: 1 }
  const { registry, transport } = await openNats(settings, silentLogger)
  try {
    await server.pause()
    await assert.rejects(registry.put('key', 'value', 0), /JetStream does not answer/)
  } finally {
    server.goOn()
    await registry.close()
    await transport.close()
  }
})

for (const [what, end] of [
  ['is gone in the midst of that', (server: NatsServer) => server.stop()],
  ['does not answer', async () => {}],
] as const) {
  test(`who leaves has left, though NATS ${what}`, options, async () => {
    await using server = await NatsServer.start()
    const settings = { servers: [server.url], name: 'test', node: 'one', replicas: 1 }
    const { registry, transport } = await openNats(settings, silentLogger)
    await registry.close()
    await server.pause()
    transport.broadcast('good night')
    const left = transport.close()
    await end(server)
    await left
  })
}
