import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ConnectionOptions } from 'node:tls'
import { checkConfig, type LoadedConfig } from '../../src/config.ts'
import { makeSelfSigned } from '../../src/connection/self-signed.ts'
import { type Logger, silentLogger } from '../../src/core/log.ts'
import type { Module } from '../../src/core/module.ts'
import { isLocalSession } from '../../src/core/session.ts'
import { modules as builtinModules } from '../../src/modules.ts'
import { type ExtraModule, type RoutingModuleFactory, Server } from '../../src/server.ts'
import { jid, parseJid } from '../../src/xmpp/jid.ts'
import { Client, type Credentials } from './client.ts'
import { TestComponent } from './component.ts'
import { emptyDatabase } from './storage-backends.ts'

export const DOMAIN = 'im.example.com'
export const PASSWORD = 'wherefore art thou'
/** Of components. */
export const SECRET = 'what light through yonder window breaks'

type Table = { readonly [key: string]: unknown }

/** In the shape of the configuration file; what is left out is as a test wants it. */
export type Settings = {
  readonly domains?: readonly string[]
  readonly data_dir?: string
  readonly routing_modules?: readonly string[]
  /** One listener, or several. */
  readonly listen?: Table | readonly Table[]
  /** Listeners for components; none unless told. */
  readonly component?: Table | readonly Table[]
  /** Listeners for other servers; none unless told. */
  readonly servers?: Table | readonly Table[]
  /** Listeners for HTTP; none unless told. */
  readonly http?: Table | readonly Table[]
  readonly admin?: Table
  /** How other servers are reached; not at all unless told. */
  readonly s2s?: Table
  readonly tls?: Table
  readonly auth?: Table
  readonly storage?: Table
  /** Other nodes; none unless told. */
  readonly cluster?: Table
  /** Called when the other nodes have given this one up; that fails the test unless told. */
  readonly onFenced?: () => void
  readonly limits?: Table
  readonly delivery?: Table
  readonly tracing?: Table
  /** Of modules that come with the server. `false` leaves one out. */
  readonly modules?: { readonly [name: string]: Table | false }
  /** Where single domains differ: `[host."…"]`. */
  readonly host?: Table
  /** Modules in code. */
  readonly use?: readonly (Module | ExtraModule)[]
  /** In place of `routing_modules`, with routing modules in code among them. */
  readonly routing?: readonly (string | RoutingModuleFactory)[]
  readonly log?: Logger
  /** `[log]`. */
  readonly logging?: Table
  /** Where relative paths start; the temporary directory unless told. */
  readonly directory?: string
}

export type ConnectOptions = Partial<Omit<Credentials, 'localpart'>> & {
  /** Of the listeners, by place. */
  readonly listener?: number
  readonly domain?: string
  /** Of the initial presence; `undefined`: none is sent. 0 unless told. */
  readonly priority?: number | undefined
  /** Attributes of the stream header, once it is authenticated too. */
  readonly header?: Readonly<Record<string, string | undefined>>
}

export type ComponentOptions = {
  /** Of the listeners for components, by place. */
  readonly listener?: number
  readonly secret?: string
  readonly isSubdomain?: boolean
}

export type OpenOptions = {
  readonly listener?: number
  readonly domain?: string
  /** Of the client, where TLS is direct. */
  readonly tls?: ConnectionOptions
}

/** A server of the test's own, in this process, on a free port, with its own directory. */
export class TestServer implements AsyncDisposable {
  readonly server: Server
  readonly directory: string
  readonly #ownsDirectory: boolean
  readonly #clients: Client[] = []
  #isStopped = false

  constructor(server: Server, directory: string, ownsDirectory: boolean) {
    this.server = server
    this.directory = directory
    this.#ownsDirectory = ownsDirectory
  }

  /** Other settings, all of them, take the place of those in force. */
  async reload(settings: Settings, options: { readonly isDry?: boolean } = {}): Promise<void> {
    await this.server.reload(await load(settings, this.directory), options)
  }

  get domain(): string {
    return this.server.config.domains[0] as string
  }

  get port(): number {
    return this.portOf(0)
  }

  portOf(listener: number): number {
    const found = this.server.listeners[listener]
    assert(found !== undefined, `there is no listener ${listener}`)
    return found.address.port
  }

  /** Of the listeners for HTTP, by place: `http://127.0.0.1:1234`. */
  urlOf(listener = 0): string {
    const found = this.server.httpListeners[listener]
    assert(found !== undefined, `there is no listener ${listener} for HTTP`)
    const isSecure = this.server.config.listen.http[listener]?.tls === 'direct'
    return `${isSecure ? 'https' : 'http'}://127.0.0.1:${found.address.port}`
  }

  /** A component's connection, and nothing said on it. */
  async openComponent(name: string, options: ComponentOptions = {}): Promise<TestComponent> {
    const listener = this.server.componentListeners[options.listener ?? 0]
    assert(listener !== undefined, 'there is no such listener for components')
    const component = await TestComponent.open({
      host: '127.0.0.1',
      port: listener.address.port,
      domain: name,
      ...(listener.tls === 'direct' && { directTls: { rejectUnauthorized: false } }),
    })
    component.server = this.domain
    this.#clients.push(component)
    return component
  }

  /** A component that is connected. */
  async connectComponent(name: string, options: ComponentOptions = {}): Promise<TestComponent> {
    const component = await this.openComponent(name, options)
    const isSubdomain = options.isSubdomain === true
    await component.startStream(isSubdomain ? { is_subdomain: 'true' } : {})
    await component.shakesHands(options.secret ?? SECRET)
    if (isSubdomain) component.address = `${name}.${this.domain}`
    return component
  }

  /** False: there is such an account already. */
  createAccount(localpart: string, password = PASSWORD, domain = this.domain): Promise<boolean> {
    return this.server.lifecycle.register(jid(localpart, domain).toBare(), password)
  }

  /** A connection, and nothing said on it. */
  async open(options: OpenOptions = {}): Promise<Client> {
    const { listener = 0, domain = this.domain, tls } = options
    const isDirect = this.server.listeners[listener]?.tls === 'direct'
    const directTls = { servername: domain, rejectUnauthorized: false, ...tls }
    const client = await Client.open({
      host: '127.0.0.1',
      port: this.portOf(listener),
      domain,
      ...(isDirect && { directTls }),
    })
    this.#clients.push(client)
    return client
  }

  /** A connection up to the features before authentication, over TLS where there is TLS. */
  async openStream(options: OpenOptions & Pick<ConnectOptions, 'header'> = {}): Promise<Client> {
    const client = await this.open(options)
    await client.startStream(options.header)
    if (client.features?.child('starttls', 'urn:ietf:params:xml:ns:xmpp-tls') !== undefined) {
      await client.startTls(options.tls)
    }
    return client
  }

  /**
   * A client with a session, available with priority 0 unless told otherwise. Makes the account if
   * there is none. The account's other clients have got and dropped the news of it.
   */
  async connect(
    localpart: string,
    resource?: string,
    options: ConnectOptions = {},
  ): Promise<Client> {
    const { domain = this.domain, password = PASSWORD, header } = options
    await this.createAccount(localpart, password, domain)
    const client = await this.openStream(options)
    const { mechanism = 'PLAIN', binding } = options
    const offered = client.mechanisms.includes(mechanism)
    await client.authenticate(
      {
        localpart,
        password,
        ...(offered && { mechanism }),
        ...(binding !== undefined && { binding }),
      },
      header,
    )
    await client.bind(resource)
    const priority = 'priority' in options ? options.priority : 0
    if (priority !== undefined) await this.#makeAvailable(client, priority)
    return client
  }

  /** The session of a connected client. */
  sessionOf(client: Client) {
    const session = this.server.sessionManager.sessions.get(parseJid(client.fullJid))
    assert(session !== undefined, `${client} has no session`)
    return session
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.server.stop()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) await client[Symbol.asyncDispose]()
    if (!this.#isStopped) await this.stop()
    const { listeners: clients, serverListeners, componentListeners } = this.server
    const listeners = [...clients, ...serverListeners, ...componentListeners]
    const left = listeners.map(({ connectionCount }) => connectionCount)
    if (this.#ownsDirectory) await rm(this.directory, { recursive: true, force: true })
    assert.deepEqual(
      {
        connections: left,
        sessions: [...this.server.sessionManager.sessions.values()].filter(isLocalSession).length,
      },
      { connections: left.map(() => 0), sessions: 0 },
      'the server kept what it should have closed',
    )
  }

  async #makeAvailable(client: Client, priority: number): Promise<void> {
    await client.becomesAvailable(priority)
    const { fullJid, bareJid } = client
    for (const other of this.#clients) {
      if (other === client || other.isClosed || other.bareJid !== bareJid) continue
      // Unless this one has taken its place: then it is being closed.
      await other.roundTrip().catch((error) => {
        if (!other.isClosed) throw error
      })
      other.forgets({ name: 'presence', from: fullJid })
      client.forgets({ name: 'presence', from: other.fullJid })
    }
  }
}

export async function startServer(settings: Settings = {}): Promise<TestServer> {
  const { log = silentLogger, use = [] } = settings
  const ownsDirectory = settings.data_dir === undefined
  const directory = settings.data_dir ?? (await mkdtemp(join(tmpdir(), 'meerkat-')))
  try {
    const loaded = await load(settings, directory)
    const extraModules = use.map((entry) => ('module' in entry ? entry : { module: entry }))
    const { routing, onFenced = fenced } = settings
    const options = { loaded, log, extraModules, onFenced, ...(routing && { routing }) }
    const server = await Server.create(options)
    await server.start()
    return new TestServer(server, directory, ownsDirectory)
  } catch (error) {
    if (ownsDirectory) await rm(directory, { recursive: true, force: true })
    throw error
  }
}

function fenced(): void {
  throw new Error('the other nodes have given this one up')
}

async function load(settings: Settings, directory: string): Promise<LoadedConfig> {
  return checkConfig(await configuration(settings, directory), {
    modules: builtinModules,
    directory: settings.directory ?? directory,
  })
}

function listOf(tables: Table | readonly Table[]): readonly Table[] {
  return Array.isArray(tables) ? tables : [tables as Table]
}

/** A certificate for `domain`, key included, that nobody has signed. */
export async function writeCertificate(directory: string, domain = DOMAIN): Promise<string> {
  const path = join(directory, `${domain}.pem`)
  await writeFile(path, makeSelfSigned(Date.now(), domain))
  return path
}

async function configuration(settings: Settings, directory: string): Promise<Table> {
  const { domains = [DOMAIN], modules = {}, auth, storage, limits, delivery } = settings
  const c2s = listOf(settings.listen ?? {}).map((listener) => ({
    address: '127.0.0.1',
    port: 0,
    tls: 'none',
    allow_plain_without_tls: true,
    ...listener,
  }))
  const component = listOf(settings.component ?? []).map((listener) => ({
    port: 0,
    secret: SECRET,
    ...listener,
  }))
  const s2s = listOf(settings.servers ?? []).map((listener) => ({ port: 0, ...listener }))
  const http = listOf(settings.http ?? []).map((listener) => ({ port: 0, ...listener }))
  let { tls } = settings
  const listening: readonly Table[] = [...c2s, ...s2s, ...component, ...http]
  if (tls === undefined && listening.some((listener) => (listener.tls ?? 'none') !== 'none')) {
    const path = await writeCertificate(directory, domains[0])
    tls = { certificate: path, key: path }
  }
  const tables = Object.entries(modules).map(([name, table]) => [
    name,
    table === false ? { enabled: false } : table,
  ])
  return {
    domains,
    data_dir: directory,
    listen: { c2s, s2s, component, http },
    auth: { scram_iterations: 4096, ...auth },
    host: settings.host ?? {},
    storage: { url: storage?.url ?? (await emptyDatabase()), ...storage },
    modules: Object.fromEntries(tables),
    ...(tls !== undefined && { tls }),
    ...(settings.s2s !== undefined && { s2s: settings.s2s }),
    ...(settings.admin !== undefined && { admin: settings.admin }),
    ...(settings.cluster !== undefined && { cluster: settings.cluster }),
    ...(limits !== undefined && { limits }),
    ...(delivery !== undefined && { delivery }),
    ...(settings.tracing !== undefined && { tracing: settings.tracing }),
    ...(settings.logging !== undefined && { log: settings.logging }),
    ...(settings.routing_modules !== undefined && { routing_modules: settings.routing_modules }),
  }
}
