import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { writePem } from './certificates.ts'
import { Client } from './client.ts'
import type { Internet } from './federation.ts'
import { freePort } from './relay.ts'
import { PASSWORD } from './server.ts'

const PROSODY = '/usr/bin/prosody'
const PATIENCE_MS = 15_000

/** Why tests with it are left out, if they are. */
export const withoutProsody = existsSync(PROSODY) ? false : `${PROSODY} is not installed`

export type ProsodyWishes = {
  /** Whether others need certificates, and whether it asks back without. */
  readonly secureAuth: boolean
  readonly dialback: boolean
  readonly bidi: boolean
  readonly smacks: boolean
}

type Settings = ProsodyWishes & {
  readonly domain: string
  readonly directory: string
  readonly certificate: string
  readonly ca: string
  readonly dns: string
  readonly address: string
  readonly serverPort: number
  readonly clientPort: number
}

/** Another server, as operators run it. */
export class Prosody implements AsyncDisposable {
  readonly domain: string
  readonly #child: ChildProcess
  readonly #directory: string
  readonly #clientPort: number
  readonly #clients: Client[] = []
  /** What it logged. */
  log = ''

  private constructor(child: ChildProcess, settings: Settings) {
    this.#child = child
    this.domain = settings.domain
    this.#directory = settings.directory
    this.#clientPort = settings.clientPort
    child.stdout?.on('data', (text) => {
      this.log += text
    })
    child.stderr?.on('data', (text) => {
      this.log += text
    })
  }

  /** Part of `internet`, with accounts that have the password of the tests. */
  static async start(
    internet: Internet,
    domain: string,
    accounts: readonly string[],
    wishes: Partial<ProsodyWishes> = {},
  ): Promise<Prosody> {
    const directory = await mkdtemp(join(tmpdir(), 'meerkat-prosody-'))
    const address = '127.0.0.100'
    const [serverPort, clientPort] = [await freePort(address), await freePort('127.0.0.1')]
    const settings: Settings = {
      secureAuth: true,
      dialback: true,
      bidi: true,
      smacks: true,
      ...wishes,
      domain,
      directory,
      certificate: await writePem(directory, 'certificate', internet.certify(domain)),
      ca: internet.ca,
      dns: internet.dns.address,
      address,
      serverPort,
      clientPort,
    }
    await writeFile(join(directory, 'prosody.cfg.lua'), configuration(settings))
    const home = join(directory, encodeURIComponent(domain).replaceAll('.', '%2e'), 'accounts')
    await mkdir(home, { recursive: true })
    for (const account of accounts) {
      await writeFile(join(home, `${account}.dat`), `return { ["password"] = "${PASSWORD}" };\n`)
    }
    const child = spawn(PROSODY, ['--config', join(directory, 'prosody.cfg.lua'), '-F'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const prosody = new Prosody(child, settings)
    await prosody.#isUp(address, serverPort)
    internet.locateAt(domain, address, serverPort)
    return prosody
  }

  async connect(localpart: string, resource: string): Promise<Client> {
    const { domain } = this
    const client = await Client.open({ host: '127.0.0.1', port: this.#clientPort, domain })
    this.#clients.push(client)
    await client.startStream()
    await client.authenticate({ localpart, password: PASSWORD, mechanism: 'PLAIN' })
    await client.bind(resource)
    await client.becomesAvailable()
    return client
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) await client[Symbol.asyncDispose]()
    if (this.#child.exitCode === null) {
      this.#child.kill('SIGKILL')
      await once(this.#child, 'exit')
    }
    await rm(this.#directory, { recursive: true, force: true })
  }

  async #isUp(host: string, port: number): Promise<void> {
    const end = Date.now() + PATIENCE_MS
    while (!(await answers(host, port))) {
      if (this.#child.exitCode !== null || Date.now() > end) {
        throw new Error(`Prosody did not start: ${this.log}`)
      }
      await delay(50)
    }
  }
}

function answers(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

function configuration(settings: Settings): string {
  const modules = ['roster', 'saslauth', 'tls', 'disco', 'ping', 'presence', 's2s_auth_certs']
  if (settings.dialback) modules.push('dialback')
  if (settings.bidi) modules.push('s2s_bidi')
  if (settings.smacks) modules.push('smacks')
  const [dnsHost, dnsPort] = settings.dns.split(':')
  return `
data_path = "${settings.directory}"
pidfile = "${settings.directory}/prosody.pid"
run_as_root = true
log = { { levels = { min = "debug" }; to = "console" } }
unbound = {
  resolvconf = false; hoststxt = false; forward = "${dnsHost}@${dnsPort}";
  options = { ["do-not-query-localhost:"] = "no"; ["module-config:"] = "iterator" };
}
use_ipv6 = false
c2s_interfaces = { "127.0.0.1" }
c2s_ports = { ${settings.clientPort} }
c2s_direct_tls_ports = {}
s2s_interfaces = { "${settings.address}" }
s2s_ports = { ${settings.serverPort} }
s2s_direct_tls_ports = {}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
s2s_require_encryption = true
s2s_secure_auth = ${settings.secureAuth}
authentication = "internal_plain"
storage = "internal"
modules_enabled = { ${modules.map((name) => `"${name}"`).join('; ')} }
modules_disabled = { "posix", "limits", "http", "admin_shell", "admin_socket" }
ssl = { cafile = "${settings.ca}" }
VirtualHost "${settings.domain}"
ssl = {
  certificate = "${settings.certificate}"; key = "${settings.certificate}"; cafile = "${settings.ca}"
}
`
}
