/** What is wrong with a file is told all at once: where, what was found and what was expected. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { problemsOf } from '../../test/support/config-files.ts'

const D = 'domains = ["localhost"]\n'

const refused: Record<string, readonly [toml: string, ...problems: string[]]> = {
  'an empty file': ['', 'meerkat.toml: domains: missing, expected an array'],
  'no domains': [
    'domains = []',
    'meerkat.toml:1:1: domains: found an empty array, expected an array of at least 1 element',
  ],
  'bad TOML': [
    'domains = [\n"a"\nx = 1',
    'meerkat.toml:3:1: not TOML: expected comma or end of structure',
  ],
  'a key twice': [
    `${D}[log]\n[log]`,
    'meerkat.toml:3:2: not TOML: trying to redefine an already defined table or value',
  ],
  'domains that are none, and one twice': [
    'domains = ["a b", 5, "a.example",\n "A.EXAMPLE"]\n[[listen.c2s]]\ntls = "none"\naddress = "::1"',
    'meerkat.toml:1:12: domains[0]: found "a b", expected a domain such as "im.example.com" ' +
      '(domainpart: a character is not allowed)',
    'meerkat.toml:1:19: domains[1]: found 5, expected a domain such as "im.example.com"',
    'meerkat.toml:2:2: domains[3]: found "a.example" twice, expected it once',
  ],
  'unknown keys at every level': [
    `data_dri = "x"\n${D}[log]\nlevle = "info"\n[[listen.c2s]]\nadress = "::"\n[colours]`,
    'meerkat.toml:1:1: data_dri: unknown key; did you mean "data_dir"?',
    'meerkat.toml:4:1: log.levle: unknown key; did you mean "level"?',
    'meerkat.toml:6:1: listen.c2s[0].adress: unknown key; did you mean "address"?',
    'meerkat.toml:7:2: colours: unknown key, expected one of "domains", "data_dir", ' +
      '"workers", "routing_modules", "listen", "tls", "s2s", "auth", "storage", "cluster", "limits", "delivery", "log", "tracing", "modules", "host", "admin"',
  ],
  'wrong types': [
    'domains = "x"\nlisten = []\nmodules = 1\nauth = 1979-05-27\ndata_dir = true',
    'meerkat.toml:1:1: domains: found "x", expected an array',
    'meerkat.toml:2:1: listen: found an empty array, expected a table',
    'meerkat.toml:3:1: modules: found 1, expected a table',
    'meerkat.toml:4:1: auth: found "1979-05-27", expected a table',
    'meerkat.toml:5:1: data_dir: found true, expected a text in quotes',
  ],
  'impossible values of a listener': [
    `${D}[[listen.c2s]]\nport = 70000\ntls = "require"\nmax_stanza_size = -1\nbacklog = 1.5\n` +
      'address = "a b"\npre_auth_timeout = "5 parsecs"\nshaper = "fast"\nmax_connections = 0',
    'meerkat.toml:3:1: listen.c2s[0].port: found 70000, ' +
      'expected a port from 0 to 65535 (0 is any free one)',
    'meerkat.toml:4:1: listen.c2s[0].tls: found "require", ' +
      'expected one of "starttls", "required", "direct", "none"; did you mean "required"?',
    'meerkat.toml:5:1: listen.c2s[0].max_stanza_size: found -1, expected a size ' +
      'such as "256KiB", "1MB" or a number of bytes, from 10000 to 64MiB',
    'meerkat.toml:6:1: listen.c2s[0].backlog: found 1.5, expected a whole number',
    'meerkat.toml:7:1: listen.c2s[0].address: found "a b", ' +
      'expected an IP address, a host name or "*"',
    'meerkat.toml:8:1: listen.c2s[0].pre_auth_timeout: found "5 parsecs", expected a duration ' +
      'such as "30s", "5m", "1h" or a number of milliseconds, from 1s to 1h',
    'meerkat.toml:9:1: listen.c2s[0].shaper: found "fast", expected "none", ' +
      'bytes per second such as "64KiB", or { rate = "64KiB", burst = "256KiB" }',
    'meerkat.toml:10:1: listen.c2s[0].max_connections: found 0, expected a number of at least 1',
  ],
  'a table where a part is wrong': [
    `${D}[[listen.c2s]]\nshaper = { rate = "x", brst = 5 }`,
    'meerkat.toml:3:12: listen.c2s[0].shaper.rate: found "x", ' +
      'expected a size such as "256KiB", "1MB" or a number of bytes, at least 1',
    'meerkat.toml:3:24: listen.c2s[0].shaper.brst: unknown key; did you mean "burst"?',
  ],
  'listeners that take each other the port': [
    `${D}listen.c2s = [{}, { address = "::1" }, { address = "0.0.0.0", port = 1 },\n` +
      '{ address = "127.0.0.1", port = 1 }, { port = 0 }, { port = 0 }, { port = "x" }]',
    'meerkat.toml:2:19: listen.c2s[1]: found [::1]:5222, which listen.c2s[0] (*:5222) takes ' +
      'already, expected another port or address',
    'meerkat.toml:3:1: listen.c2s[3]: found 127.0.0.1:1, which listen.c2s[2] (0.0.0.0:1) takes ' +
      'already, expected another port or address',
    'meerkat.toml:3:68: listen.c2s[6].port: found "x", ' +
      'expected a port from 0 to 65535 (0 is any free one)',
  ],
  'a public domain without certificate': [
    'domains = ["im.example.com"]',
    'meerkat.toml:1:12: domains[0]: im.example.com has no certificate, expected "certificate" ' +
      'and "key" in [tls] or [tls.domains."im.example.com"]',
  ],
  'halves of certificates': [
    `${D}[tls]\ncertificate = "localhost.pem"\n[tls.domains.localhost]\nkey = "localhost.pem"`,
    'meerkat.toml:2:2: tls.key: missing, expected the private key of the certificate',
    'meerkat.toml:4:14: tls.domains.localhost.certificate: missing, ' +
      'expected the certificate of the key',
  ],
  'files that are missing, something else, or no pair': [
    'domains = ["localhost", "a.example"]\n[tls]\ncertificate = "none.pem"\nkey = "text.pem"\n' +
      '[tls.domains.localhost]\ncertificate = "localhost.pem"\nkey = "other.pem"\n' +
      '[tls.domains."a.example"]\ncertificate = "."\nkey = "text.pem/x"',
    'meerkat.toml:3:1: tls.certificate: found "none.pem", which does not exist, ' +
      'expected a PEM file with the certificate',
    'meerkat.toml:4:1: tls.key: found "text.pem", which holds something else, ' +
      'expected a PEM file with an unencrypted key',
    'meerkat.toml:7:1: tls.domains.localhost.key: found "other.pem", ' +
      'expected the key of localhost.pem',
    'meerkat.toml:9:1: tls.domains."a.example".certificate: found ".", which is a directory, ' +
      'expected a PEM file with the certificate',
    'meerkat.toml:10:1: tls.domains."a.example".key: found "text.pem/x", ' +
      'which is not in a directory, expected a PEM file with an unencrypted key',
  ],
  'a certificate for another domain': [
    `${D}[tls.domains.localhst]\ncertificate = "localhost.pem"\nkey = "localhost.pem"`,
    'meerkat.toml:2:14: tls.domains.localhst: found a certificate for a domain that is not in ' +
      '"domains"; did you mean "localhost"?',
  ],
  'a data directory that is a file, or in one': [
    `${D}data_dir = "text.pem"`,
    'meerkat.toml:2:1: data_dir: found "text.pem", which is no directory, ' +
      'expected a directory to read and write',
  ],
  'a data directory inside a file': [
    `${D}data_dir = "text.pem/data"`,
    'meerkat.toml:2:1: data_dir: found "text.pem/data", but text.pem is no directory, ' +
      'expected a directory to read and write',
  ],
  'a password in a URL': [
    `${D}[storage]\nurl = "postgress://meerkat:hunter:2@db.example.com/meerkat"`,
    'meerkat.toml:3:1: storage.url: found "postgress://meerkat:…@db.example.com/meerkat", ' +
      'expected "sqlite:" and a path, such as "sqlite:meerkat.db", or ' +
      '"postgres://user@host/database"',
  ],
  'a password in what is no URL': [
    `${D}[storage]\nurl = "postgres//meerkat:hunter2@db.example.com/meerkat"`,
    'meerkat.toml:3:1: storage.url: found "postgres//meerkat:…@db.example.com/meerkat", ' +
      'expected "sqlite:" and a path, such as "sqlite:meerkat.db", or ' +
      '"postgres://user@host/database"',
  ],
  'log-in and storage': [
    `${D}[auth]\nregistration = "yes"\nmechanisms = ["SCRAM-SHA256", 5]\nscram_iterations = 1\n` +
      '[storage]\nurl = "mysql:x"\n[log]\nlevel = "verbose"\n[limits]\nmax_sessions_per_user = 0',
    'meerkat.toml:3:1: auth.registration: found "yes", expected true or false',
    'meerkat.toml:4:15: auth.mechanisms[0]: found "SCRAM-SHA256", expected one of ' +
      '"SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"; did you mean "SCRAM-SHA-256"?',
    'meerkat.toml:4:31: auth.mechanisms[1]: found 5, expected one of ' +
      '"SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"',
    'meerkat.toml:5:1: auth.scram_iterations: found 1, expected a number of at least 4096',
    'meerkat.toml:7:1: storage.url: found "mysql:x", ' +
      'expected "sqlite:" and a path, such as "sqlite:meerkat.db", or ' +
      '"postgres://user@host/database"',
    'meerkat.toml:9:1: log.level: found "verbose", ' +
      'expected one of "trace", "debug", "info", "warn", "error", "fatal"',
    'meerkat.toml:11:1: limits.max_sessions_per_user: found 0, expected a number of at least 1',
  ],
  'routing modules': [
    `${D}routing_modules = ["globl", "global", 5, "global", "./none.ts", "no-such-package"]`,
    'meerkat.toml:2:20: routing_modules[0]: found "globl", expected one of "global", ' +
      '"external_local", "external", "localdomain", "s2s", a file that exists ("./my-module.ts") ' +
      'or an installed npm package; did you mean "global"?',
    'meerkat.toml:2:39: routing_modules[2]: found 5, expected a text in quotes',
    'meerkat.toml:2:42: routing_modules[3]: found "global" twice, expected it once',
    'meerkat.toml:2:52: routing_modules[4]: found "./none.ts", expected one of "global", ' +
      '"external_local", "external", "localdomain", "s2s", a file that exists ("./my-module.ts") ' +
      'or an installed npm package',
    'meerkat.toml:2:65: routing_modules[5]: found "no-such-package", expected one of "global", ' +
      '"external_local", "external", "localdomain", "s2s", a file that exists ("./my-module.ts") ' +
      'or an installed npm package',
  ],
  modules: [
    `${D}[modules.carbon]\n[modules.carbons]\noder = 1\n[modules.offline]\nmax_messages = 0\n` +
      'enabled = "no"\n[modules.mine]\nfrom = "./none.ts"\n[modules.zzzzzz]',
    'meerkat.toml:2:10: modules.carbon: unknown module; did you mean "carbons"?',
    'meerkat.toml:4:1: modules.carbons.oder: unknown key; did you mean "order"?',
    'meerkat.toml:7:1: modules.offline.enabled: found "no", expected true or false',
    'meerkat.toml:9:1: modules.mine.from: found "./none.ts", ' +
      'expected a file that exists ("./my-module.ts") or an installed npm package',
    'meerkat.toml:10:10: modules.zzzzzz: unknown module, ' +
      'expected "from" with its file or npm package',
  ],
  'the settings of a module that is turned off': [
    `${D}[modules.offline]\nenabled = false\nmax_messages = 0`,
    'meerkat.toml:4:1: modules.offline.max_messages: found 0, expected a number of at least 1',
  ],
  'a socket in a directory that is not there': [
    `${D}[admin]\nsocket = "/none/meerkat.sock"`,
    'meerkat.toml:3:1: admin.socket: found "/none/meerkat.sock", ' +
      'expected a path in a directory that exists',
  ],
  'a socket path that the kernel would cut off': [
    `${D}[admin]\nsocket = "/${'x'.repeat(103)}"`,
    `meerkat.toml:3:1: admin.socket: found "/${'x'.repeat(59)}…", ` +
      'expected a path of at most 103 bytes, such as "/run/meerkat.sock"',
  ],
}

for (const [name, [toml, ...problems]] of Object.entries(refused)) {
  test(`refused: ${name}`, () => assert.deepEqual(problemsOf(toml), problems))
}
