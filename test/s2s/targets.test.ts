import assert from 'node:assert/strict'
import { test } from 'node:test'
import { namedTarget, ServerNotFound, TargetFinder } from '../../src/s2s/targets.ts'
import { DnsServer } from '../support/dns.ts'

const DOMAIN = 'montague.example'
const STARTTLS = `_xmpp-server._tcp.${DOMAIN}`
const DIRECT = `_xmpps-server._tcp.${DOMAIN}`

type Options = ConstructorParameters<typeof TargetFinder>[0]

async function finding(options: Omit<Options, 'resolver'> = {}) {
  const dns = await DnsServer.start()
  const finder = new TargetFinder({ resolver: [dns.address], ...options })
  const hosts = async () => (await finder.find(DOMAIN)).map(({ host }) => host)
  return { dns, finder, hosts, [Symbol.asyncDispose]: () => dns[Symbol.asyncDispose]() }
}

test('by priority, direct TLS and STARTTLS mixed', async () => {
  await using it = await finding()
  it.dns.services(
    STARTTLS,
    { priority: 20, port: 5269, target: 'third' },
    { priority: 5, port: 5269, target: 'first' },
  )
  it.dns.services(DIRECT, { priority: 10, port: 5270, target: 'second' })

  assert.deepEqual(await it.finder.find(DOMAIN), [
    { host: 'first', port: 5269, isDirect: false },
    { host: 'second', port: 5270, isDirect: true },
    { host: 'third', port: 5269, isDirect: false },
  ])
})

test('those of the same priority by their weights', async () => {
  const numbers: number[] = []
  await using it = await finding({ random: () => numbers.shift() ?? 0 })
  it.dns.services(
    STARTTLS,
    { weight: 0, port: 1, target: 'never' },
    { weight: 10, port: 1, target: 'light' },
    { weight: 90, port: 1, target: 'heavy' },
  )

  numbers.push(0, 0, 0)
  assert.deepEqual(await it.hosts(), ['never', 'light', 'heavy'])
  numbers.push(0.99, 0.99, 0)
  assert.deepEqual(await it.hosts(), ['heavy', 'light', 'never'])
  numbers.push(0.05, 0.5, 0)
  assert.deepEqual(await it.hosts(), ['light', 'heavy', 'never'])
})

test('without records the domain itself', async () => {
  await using it = await finding()
  assert.deepEqual(await it.finder.find(DOMAIN), [{ host: DOMAIN, port: 5269, isDirect: false }])
  assert.deepEqual(await it.finder.find('[::1]'), [{ host: '::1', port: 5269, isDirect: false }])
  assert.deepEqual(await it.finder.find('bücher.example'), [
    { host: 'xn--bcher-kva.example', port: 5269, isDirect: false },
  ])
})

test('a record that says that there is nothing', async () => {
  await using it = await finding()
  it.dns.services(STARTTLS, { port: 0, target: '' })
  await assert.rejects(it.finder.find(DOMAIN), ServerNotFound)

  it.dns.services(DIRECT, { port: 5270, target: 'xmpp.example' })
  assert.deepEqual(await it.hosts(), ['xmpp.example'])
})

test('a name that DNS cannot have', async () => {
  await using it = await finding()
  const domain = `${'x'.repeat(64)}.example`
  const [target] = await it.finder.find(domain)
  assert.equal(target?.host, domain)
  await assert.rejects(it.finder.addressesOf(domain), ServerNotFound)
})

test('DNS that fails is no proof that there is nothing', async () => {
  await using it = await finding()
  it.dns.breaks(STARTTLS)
  await assert.rejects(it.finder.find(DOMAIN), (error) => !(error instanceof ServerNotFound))

  it.dns.services(DIRECT, { port: 5270, target: 'xmpp.example' })
  assert.deepEqual(await it.hosts(), ['xmpp.example'])
})

test('more records than anybody needs', async () => {
  await using it = await finding()
  const records = Array.from({ length: 20 }, (_, i) => ({ port: i + 1, target: 'x' }))
  it.dns.services(STARTTLS, ...records)
  assert.equal((await it.finder.find(DOMAIN)).length, 16)
})

test('overrides, for which DNS is not asked', async () => {
  const target = { host: '192.0.2.1', port: 15_269, isDirect: true }
  await using it = await finding({ overrides: { [DOMAIN]: target } })
  assert.deepEqual(await it.finder.find(DOMAIN), [target])
  assert.deepEqual(it.dns.asked, [])
})

test('addresses of both families', async () => {
  await using it = await finding()
  it.dns.addresses('both.example', '192.0.2.1', '2001:db8:0:0:0:0:0:1')
  it.dns.addresses('one.example', '192.0.2.1')
  it.dns.breaks('broken.example')

  assert.deepEqual(await it.finder.addressesOf('both.example'), [
    { address: '2001:db8::1', family: 6 },
    { address: '192.0.2.1', family: 4 },
  ])
  assert.deepEqual(await it.finder.addressesOf('one.example'), [
    { address: '192.0.2.1', family: 4 },
  ])
  assert.deepEqual(await it.finder.addressesOf('192.0.2.9'), [{ address: '192.0.2.9', family: 4 }])
  await assert.rejects(it.finder.addressesOf('nowhere.example'), ServerNotFound)
  await assert.rejects(
    it.finder.addressesOf('broken.example'),
    (error) => !(error instanceof ServerNotFound),
  )
})

test('another host that a server names', () => {
  const cases = {
    'orchard.example': ['orchard.example', 5269],
    ' Orchard.Example:9222\n': ['orchard.example', 9222],
    'bücher.example': ['xn--bcher-kva.example', 5269],
    '192.0.2.7:9222': ['192.0.2.7', 9222],
    '[2001:db8::7]:9222': ['2001:db8::7', 9222],
    '[2001:db8::7]': ['2001:db8::7', 5269],
  } as const
  for (const [text, [host, port]] of Object.entries(cases)) {
    assert.deepEqual(namedTarget(text), { host, port, isDirect: false }, text)
  }
  const others = ['', ':5269', 'romeo@orchard.example', 'a/b', 'a:0', 'a:65536', '[orchard]', 'a:b']
  for (const text of others) assert.equal(namedTarget(text), undefined, text)
})
