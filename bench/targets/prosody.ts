import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { debianVersion } from '../machine.ts'
import { COMPONENT, type Setup, type Target, VARIANTS, type Variant } from './target.ts'

const bareModules = ['roster', 'saslauth', 'disco', 'ping', 'register_ibr']

const typicalModules = [
  ...bareModules,
  ...['carbons', 'smacks', 'blocklist', 'csi_simple', 'lastactivity', 'private', 'time'],
  ...['vcard_legacy', 'pep', 'version', 'uptime'],
]

const modules: Record<Variant, readonly string[]> = {
  bare: bareModules,
  typical: typicalModules,
  archive: [...typicalModules, 'mam'],
}

const unused = ['s2s', 'posix', 'limits', 'http', 'admin_shell', 'admin_socket']
const unusedWhenBare = ['csi', 'pep', 'cron', 'external_services']

const list = (names: readonly string[]) => `{ ${names.map((name) => `"${name}"`).join('; ')} }`

/** Deviations from the defaults: longer backlog, larger reads, no Nagle, a lazier collector. */
const configuration = ({ variant, port, directory, tls, scram, componentPort }: Setup) => `
data_path = "${directory}"
pidfile = "${directory}/prosody.pid"
run_as_root = true
log = { { levels = { min = "warn" }; to = "console" } }

network_backend = "epoll"
network_settings = { tcp_backlog = 4096; read_size = 65536; nagle = false }
gc = { mode = "incremental"; threshold = 400 }

c2s_interfaces = { "127.0.0.1" }
c2s_ports = { ${port} }
c2s_direct_tls_ports = {}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
allow_registration = true
authentication = "${scram ? 'internal_hashed' : 'internal_plain'}"
password_hash = "SHA-256"
storage = "internal"
storage_archive_item_limit = 10000000
default_archive_policy = true
archive_expires_after = "never"

modules_enabled = ${list([...modules[variant], ...(tls ? ['tls'] : [])])}
modules_disabled = ${list(variant === 'bare' ? [...unused, ...unusedWhenBare] : unused)}
${tls ? `ssl = { certificate = "${tls.certificate}"; key = "${tls.key}" }` : ''}

component_interfaces = { "127.0.0.1" }
component_ports = { ${componentPort ?? ''} }

VirtualHost "localhost"
${componentPort ? `Component "${COMPONENT.domain}"\n  component_secret = "${COMPONENT.secret}"` : ''}
`

export const prosody: Target = {
  name: 'prosody',
  protocol: 'xmpp',
  variants: VARIANTS,
  version: () => debianVersion('prosody'),
  launch(setup) {
    const file = join(setup.directory, 'prosody.cfg.lua')
    writeFileSync(file, configuration(setup))
    return { command: ['prosody', '--config', file, '-F'] }
  },
}
