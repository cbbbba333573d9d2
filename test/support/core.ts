import { SingleNode } from '../../src/cluster/single-node.ts'
import { AccountLifecycle } from '../../src/core/account-lifecycle.ts'
import { Accounts } from '../../src/core/accounts.ts'
import { ModuleCommands } from '../../src/core/command.ts'
import { Envelope, type Origin, SERVER } from '../../src/core/envelope.ts'
import type { Subscription } from '../../src/core/hook-map.ts'
import { Hooks } from '../../src/core/hooks.ts'
import { IqDispatcher } from '../../src/core/iq.ts'
import { Local } from '../../src/core/local.ts'
import { LocalDelivery } from '../../src/core/local-delivery.ts'
import { LocalRoutes } from '../../src/core/local-routes.ts'
import { silentLogger } from '../../src/core/log.ts'
import type { Module, ModuleContext } from '../../src/core/module.ts'
import { ModuleHost } from '../../src/core/module-host.ts'
import { Outcome } from '../../src/core/outcome.ts'
import { Places } from '../../src/core/places.ts'
import { enforcePrivacy } from '../../src/core/privacy.ts'
import { Router } from '../../src/core/router.ts'
import { SessionManager } from '../../src/core/session-manager.ts'
import type { Storage } from '../../src/core/storage.ts'
import { localDomain } from '../../src/routing/localdomain.ts'
import { memoryAccountStore } from '../../src/storage/memory-account-store.ts'
import { type FullJid, type Jid, jid, parseJid } from '../../src/xmpp/jid.ts'
import { Stanza } from '../../src/xmpp/stanza.ts'
import type { Element } from '../../src/xmpp/xml.ts'
import { RecordingSession } from './recording-session.ts'
import { openEmpty } from './storage-backends.ts'

export const DOMAIN = 'im.example.com'
const DOMAIN_TYPE = 'default'

type Loaded = readonly [module: Module, settings?: object]

type Settings = {
  /** With their settings as in the file. */
  readonly modules?: readonly Loaded[]
  /** Localparts. */
  readonly accounts?: readonly string[]
  readonly storage?: Storage
}

type ConnectOptions = {
  /** `undefined` keeps the resource unavailable. */
  readonly priority?: number | undefined
  readonly acknowledges?: boolean
  readonly isAnonymous?: boolean
}

/**
 * The core with modules on a database in memory, and without sockets: sessions are recorded. Time
 * stands still unless `now` is set.
 */
export class Core implements AsyncDisposable {
  readonly hooks = new Hooks(silentLogger)
  readonly places = new Places(() => this.now)
  readonly router = new Router(silentLogger, this.hooks.at('message_routed'))
  readonly routes = new LocalRoutes()
  readonly iq = new IqDispatcher({
    router: this.router,
    log: silentLogger,
    domainTypeOf: (domain) => this.routes.find(domain)?.domainType,
    underWay: this.hooks.underWay,
  })
  readonly cluster = new SingleNode(this.hooks, 'test', { size: 0 })
  readonly sessionManager = new SessionManager({
    cluster: () => this.cluster,
    hooks: this.hooks,
    router: this.router,
    iq: this.iq,
    limits: {
      maxSessionsPerUser: 10,
      normalToGoneResource: 'bounce',
      unknownRecipientsPerMinute: 100,
    },
  })
  readonly accounts = new Accounts(memoryAccountStore(), { now: () => this.now })
  readonly commands = new ModuleCommands()
  readonly lifecycle = new AccountLifecycle({
    accounts: this.accounts,
    hooks: this.hooks,
    sessionManager: this.sessionManager,
    domainTypeOf: () => DOMAIN_TYPE,
    log: silentLogger,
    cluster: this.cluster,
  })
  readonly storage: Storage
  readonly modules: ModuleHost
  /** What left for other servers. */
  readonly sentAway: Envelope[] = []
  /** Subscriptions as the accounts' rosters have them: "owner contact". */
  readonly subscriptions = new Map<string, Subscription>()
  now = Date.UTC(2026, 7, 1, 12)
  #lastId = 0
  readonly #ownsStorage: boolean
  /** What `every` was asked to do, for `tick`. */
  readonly #works = new Set<() => void | Promise<void>>()

  constructor(storage: Storage, ownsStorage: boolean) {
    this.storage = storage
    this.#ownsStorage = ownsStorage
    this.modules = new ModuleHost({
      ...this,
      sessions: this.sessionManager,
      restoreSession: () => {
        throw new Error('sessions of clients are for stories')
      },
      log: silentLogger,
      clock: { now: () => this.now },
    })
    const { hooks, iq, router, sessionManager, routes } = this
    enforcePrivacy(hooks, routes)
    const delivery = new LocalDelivery(hooks, router, silentLogger)
    const elsewhere = (envelope: Envelope) => {
      this.sentAway.push(envelope)
      return new Outcome('forwarded', 'elsewhere')
    }
    router.use([localDomain(routes, delivery), { name: 'elsewhere', route: elsewhere }])
    routes.add(new Local(DOMAIN, DOMAIN_TYPE, { hooks, router, iq, sessionManager }))
    hooks.on('does_user_exist', (_, { account }) => this.accounts.exists(account))
    hooks.on('roster_get_jid_info', (info, { owner, contact }) => {
      const subscription = this.subscriptions.get(`${owner} ${contact}`)
      return subscription === undefined ? info : { ...info, subscription }
    })
  }

  /** Loads a module with settings as in the file. */
  async load<Config>(module: Module<Config>, settings: object = {}): Promise<void> {
    if (module.migrations !== undefined) await this.storage.migrate(module.migrations)
    const start = (context: ModuleContext<Config>) => {
      const every = (_: number, work: () => void | Promise<void>) => {
        this.#works.add(work)
        context.onStop(() => void this.#works.delete(work))
      }
      return module.start({ ...context, every })
    }
    await this.modules.load({ ...module, start } as Module, module.config.parse(settings))
  }

  /** Lets all that is done at intervals be done once. */
  async tick(): Promise<void> {
    for (const work of this.#works) await work()
  }

  async createAccount(localpart: string): Promise<void> {
    await this.accounts.import({
      jid: jid(localpart, DOMAIN),
      credentials: {},
      createdAt: this.now,
      isDisabled: false,
    })
  }

  /** A session of `localpart`, available with priority 0 unless told otherwise. */
  async connect(
    localpart: string,
    resource = 'balcony',
    options: ConnectOptions = {},
  ): Promise<RecordingSession> {
    const { acknowledges = false, isAnonymous = false } = options
    const session = new RecordingSession(
      {
        jid: jid(localpart, DOMAIN, resource) as FullJid,
        domainType: DOMAIN_TYPE,
        acknowledges,
        isAnonymous,
        now: this.now,
      },
      this,
    )
    await this.sessionManager.register(session)
    const priority = 'priority' in options ? options.priority : 0
    if (priority !== undefined) session.setPresence(priority, Stanza.build('presence'))
    return session
  }

  /** Puts a stanza on its way. A sender that is no session is an address elsewhere. */
  send(from: RecordingSession | string, to: string, stanza: Stanza) {
    const { jid: address, origin } = sender(from)
    return this.router.route(new Envelope(address, parseJid(to), stanza, origin))
  }

  /** Sends a request and waits for the answer: a result or an error. */
  async ask(
    from: RecordingSession | string,
    to: string,
    type: 'get' | 'set',
    payload: Element,
  ): Promise<Stanza> {
    const id = `ask-${++this.#lastId}`
    const isAnswer = ({ stanza }: Envelope) => stanza.id === id && !stanza.isRequest
    await this.send(from, to, Stanza.build('iq', { type, id }, payload))
    if (typeof from !== 'string') return (await from.receives(isAnswer)).stanza
    const answer = this.sentAway.find(isAnswer)
    if (answer === undefined) throw new Error(`no answer for ${from}`)
    return answer.stanza
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.modules.unloadAll()
    this.iq.close()
    if (this.#ownsStorage) await this.storage.close()
  }
}

function sender(from: RecordingSession | string): { jid: Jid; origin: Origin } {
  if (typeof from !== 'string') return { jid: from.jid, origin: { kind: 'c2s', session: from } }
  const address = parseJid(from)
  if (address.domain === DOMAIN) return { jid: address, origin: SERVER }
  return { jid: address, origin: { kind: 's2s', domain: address.domain } }
}

export async function startCore({ modules = [], accounts = [], storage }: Settings = {}) {
  const core = new Core(storage ?? (await openEmpty()), storage === undefined)
  for (const localpart of accounts) await core.createAccount(localpart)
  for (const [module, settings] of modules) await core.load(module, settings)
  return core
}

/** The condition of an error stanza; undefined for others. */
export function conditionOf(stanza: Stanza): string | undefined {
  if (!stanza.isError) return undefined
  return stanza.child('error')?.elements()[0]?.name
}
