import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { z } from 'zod'
import { directory, file, load, modules, problemsOf } from '../test/support/config-files.ts'
import {
  ConfigError,
  checkConfig,
  developmentSettings,
  loadConfig,
  loadConfigFile,
} from './config.ts'

const TLS = '[tls]\ncertificate = "localhost.pem"\nkey = "localhost.pem"\n'

test('a file with nothing but its domain has working defaults', () => {
  const { config, warnings } = load('domains = ["localhost"]')
  assert.deepEqual(warnings, [])
  assert.deepEqual(config, {
    domains: ['localhost'],
    data_dir: join(directory, 'data'),
    workers: 1,
    routing_modules: ['global', 'external_local', 'external', 'localdomain', 's2s'],
    listen: {
      c2s: [
        {
          address: '*',
          port: 5222,
          tls: 'required',
          allow_plain_without_tls: false,
          max_stanza_size: 262_144,
          shaper: 'none',
          max_connections: 50_000,
          max_connections_per_address: 1_000,
          pre_auth_timeout: 30_000,
          pre_auth_bytes: 65_536,
          backlog: 1_024,
        },
      ],
      component: [],
      s2s: [],
      http: [],
    },
    s2s: undefined,
    certificates: new Map(),
    otherCertificates: { directory: undefined, shared: undefined },
    auth: {
      registration: false,
      mechanisms: ['SCRAM-SHA-256', 'SCRAM-SHA-1', 'PLAIN'],
      scram_iterations: 10_000,
      wrong_passwords_per_account: 20,
      wrong_passwords_per_address: 100,
      wrong_passwords_window: 600_000,
      anonymous: false,
    },
    storage: {
      url: `sqlite:${join(directory, 'data/meerkat.db')}`,
      connections: 5,
      patience: 10_000,
    },
    cluster: undefined,
    limits: {
      max_sessions_per_user: 50,
      max_depth: 100,
      max_attributes: 100,
      unknown_recipients_per_minute: 100,
    },
    delivery: { normal_to_gone_resource: 'bounce' },
    log: { level: 'info', format: 'auto' },
    tracing: { ratio: 0.01, service_name: 'meerkat' },
    modules: new Map([
      ['carbons', { settings: { order: 60 } }],
      ['offline', { settings: { max_messages: 100 } }],
    ]),
    admin: { jids: [], requests_per_minute: 600, socket: join(directory, 'data/meerkat.sock') },
    hosts: new Map(),
  })
})

test('every key is taken over, paths starting at the file', () => {
  const { config } = load(`
    domains = ["IM.Example.com", "localhost"]
    data_dir = "/tmp"
    routing_modules = ["localdomain", "./router.ts", "meerkat-shout"]
    [[listen.c2s]]
    address = "127.0.0.1"
    port = 0
    shaper = { rate = "1KiB", burst = "4KiB" }
    [[listen.c2s]]
    address = "::1"
    tls = "direct"
    shaper = "64KiB"
    pre_auth_timeout = 1500
    [tls.domains."im.example.com"]
    certificate = "localhost.pem"
    key = "localhost.pem"
    [storage]
    url = "sqlite:other.db"
    [admin]
    socket = "meerkat.sock"
  `)
  assert.deepEqual(config.domains, ['im.example.com', 'localhost'])
  assert.deepEqual(config.routing_modules, [
    'localdomain',
    pathToFileURL(join(directory, 'router.ts')).href,
    pathToFileURL(join(directory, 'node_modules/meerkat-shout/index.js')).href,
  ])
  const [first, second] = config.listen.c2s
  assert.deepEqual([first?.port, first?.shaper], [0, { rate: 1_024, burst: 4_096 }])
  assert.deepEqual([second?.port, second?.shaper], [5223, { rate: 65_536, burst: 65_536 }])
  assert.equal(second?.pre_auth_timeout, 1_500)
  const own = join(directory, 'localhost.pem')
  assert.deepEqual(
    config.certificates,
    new Map([['im.example.com', { certificate: own, key: own }]]),
  )
  assert.equal(config.storage.url, 'sqlite:/tmp/other.db')
  assert.equal(config.admin.socket, join(directory, 'meerkat.sock'))
})

test('modules can be set, turned off, replaced and added', () => {
  const loaded = load(`
    domains = ["localhost"]
    [modules.carbons]
    enabled = false
    [modules.offline]
    max_messages = 5
    [modules.shout]
    from = "meerkat-shout"
    loudness = 11
    [modules.silent]
    from = "./router.ts"
    enabled = false
  `)
  const shout = pathToFileURL(join(directory, 'node_modules/meerkat-shout/index.js')).href
  assert.deepEqual(
    loaded.config.modules,
    new Map<string, unknown>([
      ['offline', { settings: { max_messages: 5 } }],
      ['shout', { settings: { loudness: 11 }, from: shout }],
    ]),
  )
  const schema = z.strictObject({ loudness: z.int().max(10) })
  assert.throws(() => loaded.checkModule('shout', schema), {
    name: 'ConfigError',
    message: `${file}:9:5: modules.shout.loudness: found 11, expected a number of at most 10`,
  })
  assert.deepEqual(loaded.checkModule('shout', z.object({})), {})
})

test('the development server is for this machine alone', () => {
  const { config } = checkConfig(developmentSettings, { modules, directory })
  const [listener] = config.listen.c2s
  assert.deepEqual(config.domains, ['localhost'])
  assert.equal(config.listen.c2s.length, 1)
  assert.deepEqual([listener?.address, listener?.port], ['127.0.0.1', 5222])
  assert.equal(listener?.tls, 'starttls')
  assert.equal(config.auth.registration, false)
  assert.equal(config.data_dir, join(directory, 'data'))
})

test('what is risky is told, but not refused', () => {
  const { warnings } = load(`domains = ["localhost", "a.example"]
${TLS}
[[listen.c2s]]
tls = "none"
[[listen.c2s]]
address = "192.0.2.1"
port = 1
tls = "starttls"
allow_plain_without_tls = true
[[listen.c2s]]
address = "127.0.0.1"
port = 2
tls = "none"
[tls.domains.localhost]
certificate = "old.pem"
key = "old.pem"
`)
  assert.deepEqual(
    warnings.map((line) => line.replaceAll(`${directory}/`, '')),
    [
      'meerkat.toml:7:1: listen.c2s[0].tls: "none" on *:5222 sends every message unencrypted',
      'meerkat.toml:12:1: listen.c2s[1].allow_plain_without_tls: passwords may cross the network ' +
        'unencrypted on 192.0.2.1:1',
      'meerkat.toml:3:1: tls.certificate: certificate does not cover a.example; it has ' +
        'DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, ' +
        'othername:XmppAddr:localhost; clients will refuse it',
      'meerkat.toml:18:1: tls.domains.localhost.certificate: certificate ended ' +
        'Jan  1 00:00:00 2002 GMT; clients will refuse it',
    ],
  )
})

test('a secret is not repeated in the error', () => {
  const config = z.strictObject({ api_token: z.string().min(20) })
  const settings = { domains: ['localhost'], modules: { push: { api_token: 'hunter2' } } }
  assert.throws(
    () => checkConfig(settings, { modules: [{ name: 'push', config }], directory }),
    (error: Error) => {
      assert.match(error.message, /^configuration: modules\.push\.api_token: /)
      assert.doesNotMatch(error.message, /hunter2/)
      return true
    },
  )
})

test('a file that is not there is named', () => {
  const path = join(directory, 'none.toml')
  assert.throws(() => loadConfigFile(path, modules), {
    name: 'ConfigError',
    message: `${path}: the configuration file does not exist`,
  })
})

test('components need a secret, a domain of their own and a port of their own', () => {
  const { config } = load(`
    domains = ["localhost"]
    [[listen.component]]
    access = ["im.example.com", "Romeo@Montague.example"]
    [listen.component.secrets]
    "IRC.example.com" = "rosebud"
  `)
  const [listener] = config.listen.component
  assert.equal(listener?.address, '127.0.0.1')
  assert.equal(listener?.port, 5347)
  assert.deepEqual(listener?.access, ['im.example.com', 'romeo@montague.example'])
  assert.deepEqual(listener?.secrets, { 'irc.example.com': 'rosebud' })

  assert.deepEqual(
    problemsOf(`
      domains = ["localhost"]
      [[listen.component]]
      [[listen.component]]
      secret = "rosebud"
      port = 5348
      conflict_behaviour = "kick-old"
      [[listen.component]]
      address = "*"
      port = 5222
      [listen.component.secrets]
      "localhost" = "rosebud"
    `),
    [
      'meerkat.toml:3:7: listen.component[0]: no component can connect, expected "secret" or "secrets"',
      'meerkat.toml:7:7: listen.component[1].conflict_behaviour: found "kick-old", expected one of "disconnect", "kick_old", "share"; did you mean "kick_old"?',
      'meerkat.toml:8:7: listen.component[2]: found *:5222, which listen.c2s[0] (*:5222) takes already, expected another port or address',
      'meerkat.toml:12:7: listen.component[2].secrets.localhost: found a domain that is in "domains", expected one that a component serves',
    ],
  )
})

test('settings of one domain are those of all but for what it says itself', () => {
  const { config, warnings } = loadConfig(
    `domains = ["localhost", "im.example.com"]
listen.c2s = [{ tls = "none", address = "127.0.0.1" }]
[modules.offline]
max_messages = 5
[modules.carbons]
enabled = false
[host.localhost.modules]
offline = { max_messages = 7 }
carbons.enabled = true
[host."im.example.com".modules.offline]
enabled = false
[host."later.example.com".modules.offline]
max_messages = 9
`,
    { file, modules },
  )
  assert.deepEqual(
    config.hosts.get('localhost'),
    new Map<string, unknown>([
      ['offline', { settings: { max_messages: 7 } }],
      ['carbons', { settings: { order: 60 } }],
    ]),
  )
  assert.deepEqual(config.hosts.get('im.example.com'), new Map([['offline', 'off']]))
  assert.equal(warnings.length, 1)
  assert.match(warnings[0] ?? '', /later\.example\.com.*not in "domains"/)
})

test('what is wrong with the settings of one domain is told with its place', () => {
  const text = `domains = ["localhost"]
[host.localhost.modules.offline]
max_messages = 0
[host.localhost.modules.ofline]
enabled = false
[host.localhost.modules.carbons]
from = "./elsewhere.ts"
`
  assert.throws(
    () => loadConfig(text, { file: 'meerkat.toml', modules }),
    (error: unknown) => {
      assert(error instanceof ConfigError)
      assert.deepEqual(error.message.split('\n'), [
        'meerkat.toml:3:1: host.localhost.modules.offline.max_messages: found 0, expected a number of at least 1',
        'meerkat.toml:4:25: host.localhost.modules.ofline: unknown module; did you mean "offline"?',
        'meerkat.toml:7:1: host.localhost.modules.carbons.from: found another module, expected settings of one in [modules]',
      ])
      return true
    },
  )
})
