import { existsSync, globSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Credential } from '../../src/connection/certificate.ts'
import type { Internet } from './federation.ts'
import { ForeignServer, type Place } from './foreign-server.ts'
import { PASSWORD } from './server.ts'

const PROSODY = '/usr/bin/prosody'

/** Only with it Prosody asks another DNS server than the machine does. */
const UNBOUND = globSync('/usr/lib/*/lua/5.4/lunbound.so')[0]

/** Why tests with it are left out, if they are. */
export const withoutProsody = missing()

function missing(): string | false {
  if (!existsSync(PROSODY)) return `${PROSODY} is not installed`
  return UNBOUND === undefined ? 'lua-unbound is not installed' : false
}

export type ProsodyWishes = {
  /** Whether others need certificates. */
  readonly secureAuth: boolean
  readonly dialback: boolean
  readonly bidi: boolean
  readonly smacks: boolean
  /** Of its log. */
  readonly level: 'debug' | 'info'
  /** Modules that it has besides. */
  readonly more?: readonly string[]
  /** Whether it keeps keys in place of passwords. */
  readonly isHashed?: boolean
  /** In place of one that the authority vouches for. */
  readonly certificate?: Pick<Credential, 'pem'>
}

const USUAL: ProsodyWishes = {
  secureAuth: true,
  dialback: true,
  bidi: true,
  smacks: true,
  level: 'debug',
}

/** Prosody for `domain`, with accounts that have the password of the tests. */
export async function startProsody(
  internet: Internet,
  domain: string,
  accounts: readonly string[],
  wishes: Partial<ProsodyWishes> = {},
): Promise<ForeignServer> {
  const prepare = async (place: Place) => {
    const { directory } = place
    const file = join(directory, 'prosody.cfg.lua')
    await writeFile(file, configuration(place, { ...USUAL, ...wishes }))
    const home = join(directory, domain.replaceAll('.', '%2e'), 'accounts')
    await mkdir(home, { recursive: true })
    for (const account of accounts) {
      await writeFile(join(home, `${account}.dat`), `return { ["password"] = "${PASSWORD}" };\n`)
    }
    return { command: [PROSODY, '--config', file, '-F'] } as const
  }
  return await ForeignServer.start(internet, domain, prepare, wishes.certificate)
}

function configuration(place: Place, wishes: ProsodyWishes): string {
  const modules = ['roster', 'saslauth', 'tls', 'disco', 'ping', 'presence', 'message', 'offline']
  modules.push('s2s_auth_certs', ...(wishes.more ?? []))
  if (wishes.dialback) modules.push('dialback')
  if (wishes.bidi) modules.push('s2s_bidi')
  if (wishes.smacks) modules.push('smacks')
  const [dnsHost, dnsPort] = place.dns.split(':')
  return `
data_path = "${place.directory}"
pidfile = "${place.directory}/prosody.pid"
run_as_root = true
log = { { levels = { min = "${wishes.level}" }; to = "console" } }
unbound = {
  resolvconf = false; hoststxt = false; forward = "${dnsHost}@${dnsPort}";
  options = { ["do-not-query-localhost:"] = "no"; ["module-config:"] = "iterator" };
}
use_ipv6 = false
c2s_interfaces = { "127.0.0.1" }
c2s_ports = { ${place.clientPort} }
c2s_direct_tls_ports = {}
s2s_interfaces = { "${place.address}" }
s2s_ports = { ${place.serverPort} }
s2s_direct_tls_ports = {}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
s2s_require_encryption = true
s2s_secure_auth = ${wishes.secureAuth}
authentication = "internal_${wishes.isHashed ? 'hashed' : 'plain'}"
storage = "internal"
storage_archive_item_limit = 50000
modules_enabled = { ${modules.map((name) => `"${name}"`).join('; ')} }
modules_disabled = { "posix", "limits", "http", "admin_shell", "admin_socket" }
ssl = { cafile = "${place.ca}" }
VirtualHost "${place.domain}"
ssl = {
  certificate = "${place.certificate}"; key = "${place.certificate}"; cafile = "${place.ca}"
}
`
}
