/**
 * What would become of a stanza. The route is made once more for it, of the same parts, with other ends:
 * handlers are asked in place of being run, and sessions, components and other servers only tell that
 * something would reach them.
 */
import { accept } from './c2s/inbound.ts'
import { Outbound, outboundStages } from './c2s/outbound.ts'
import { SessionPoints } from './c2s/session-points.ts'
import { SingleNode } from './cluster/single-node.ts'
import type { Component, Components } from './core/components.ts'
import { Envelope, type Origin, SERVER } from './core/envelope.ts'
import { DROP, type Hooks } from './core/hooks.ts'
import { IqDispatcher, type IqTarget } from './core/iq.ts'
import { Local } from './core/local.ts'
import { LocalRoutes } from './core/local-routes.ts'
import { silentLogger } from './core/log.ts'
import { answered, dropped, Outcome } from './core/outcome.ts'
import { NoRemoteServers } from './core/remote-servers.ts'
import { Router, type RoutingModule } from './core/router.ts'
import { isLocalSession, type Resource, type Session } from './core/session.ts'
import { SessionManager } from './core/session-manager.ts'
import type { TraceItem } from './core/trace-item.ts'
import { Tracing } from './core/tracing.ts'
import { builtinRouting, isBuiltin } from './server/builtin-routing.ts'
import type { Server } from './server.ts'
import { type FullJid, type Jid, jid, parseJid } from './xmpp/jid.ts'
import type { Stanza } from './xmpp/stanza.ts'
import { StanzaError } from './xmpp/stanza-error.ts'
import { faultOf } from './xmpp/stanza-fault.ts'

export type Question = { readonly from: Jid; readonly to: Jid | undefined; readonly stanza: Stanza }

/** How long answers are waited for, milliseconds. */
const PATIENCE = 5_000

/** The stanza, and what it would cause, in the order in which they would begin. Does nothing. */
export async function explain(server: Server, question: Question): Promise<readonly TraceItem[]> {
  const items: TraceItem[] = []
  let remark = (_: 'would' | 'unasked', __?: string) => {}
  await server.dryRun.run(
    async (hooks) => {
      const route = new DryRoute(server, hooks)
      remark = (verdict, detail) => route.tracing.remark({ verdict, detail })
      const end = route.tracing.follow({ withBodies: true }, (item) => items.push(item))
      try {
        await route.send(question)
        await route.tracing.told(PATIENCE)
      } finally {
        end()
      }
    },
    (verdict, detail) => remark(verdict, detail),
  )
  return items.sort((a, b) => a.began - b.began)
}

class DryRoute {
  readonly tracing: Tracing
  readonly #server: Server
  readonly #hooks: Hooks
  readonly #router: Router
  readonly #sessionManager: SessionManager

  constructor(server: Server, hooks: Hooks) {
    this.#server = server
    this.#hooks = hooks
    const router = new Router(silentLogger, hooks.at('message_routed'))
    this.#router = router
    // However long something takes, it is told of once.
    this.tracing = new Tracing({ hooks, router, patience: PATIENCE })
    const iq = new DryIq(server, router, this.tracing)
    const { limits } = server.sessionManager
    // Nobody else is told, and nothing gets a number for others.
    const alone = new SingleNode(hooks, '', { size: 0 })
    this.#sessionManager = new SessionManager({ hooks, router, iq, limits, cluster: () => alone })
    const sessionManager = this.#sessionManager
    const routes = new LocalRoutes()
    for (const domain of server.routes.hosted) {
      const { domainType } = server.routes.find(domain) ?? {}
      if (domainType === undefined) continue
      routes.add(new Local(domain, domainType, { hooks, router, iq, sessionManager }))
    }
    for (const domain of server.routes.services) routes.add(this.#service(domain))
    const servers =
      server.federation === undefined ? new NoRemoteServers(router) : { send: forwarded('s2s') }
    const components = this.#components()
    const builtin = builtinRouting({
      hooks,
      router,
      routes,
      components,
      servers,
      log: silentLogger,
    })
    router.use(server.router.chain.map((module) => this.#link(module, builtin.get(module.name))))
  }

  async send({ from, to, stanza }: Question): Promise<void> {
    const { routes } = this.#server
    const domainType = routes.find(from.domain)?.domainType
    const isClient = from.local !== '' && domainType !== undefined && routes.isHosted(from.domain)
    const sender = isClient ? this.#sender(from, domainType) : undefined
    const origin = this.#originOf(from, sender)
    const own = sender?.jid ?? from
    this.#invite(own)
    const recipient = to ?? (sender === undefined ? parseJid(from.domain) : own.toBare())
    this.#invite(recipient)
    const envelope = new Envelope(own, recipient, stanza, origin)
    const stage = this.#router.stages.c2sIn
    if (sender === undefined) {
      if (origin.kind !== 's2s') return void (await this.#router.route(envelope))
      const verdict = await this.#hooks.at('s2s_receive_packet').run(envelope, {})
      if (verdict instanceof Envelope) await this.#router.route(verdict)
      else {
        const outcome = dropped('s2s_receive_packet', verdict === DROP ? 'filtered' : 'stopped')
        this.#router.settle(envelope, outcome)
      }
      return
    }
    const points = new SessionPoints(this.#hooks, sender.domainType)
    const sending = { points, onSettled: undefined, inSession: { session: sender } }
    await this.tracing.receive(stage, envelope, (followed) =>
      accept(sending, followed, faultOf(stanza), this.#router),
    )
  }

  #originOf(from: Jid, session: Session | undefined): Origin {
    if (session !== undefined) return { kind: 'c2s', session }
    const { domain } = from
    if (this.#server.components.domains().includes(domain)) return { kind: 'component', domain }
    return this.#server.routes.find(domain) === undefined ? { kind: 's2s', domain } : SERVER
  }

  /** The client's session; one that is not there, if no such client is connected. */
  #sender(from: Jid, domainType: string): Session {
    const { sessions } = this.#server.sessionManager
    const known =
      from.resource === '' ? sessions.of(from.bare).find(isLocalSession) : sessions.get(from)
    if (known !== undefined && isLocalSession(known)) return known
    const resource = from.resource === '' ? 'nobody' : from.resource
    return absent(jid(from.local, from.domain, resource) as FullJid, domainType)
  }

  /** The sessions of an account, for the session manager to choose from. */
  #invite(address: Jid): void {
    const { sessions } = this.#sessionManager
    if (address.local === '' || sessions.of(address.bare).length > 0) return
    for (const resource of this.#server.sessionManager.sessions.of(address.bare)) {
      sessions.add(this.#stand(resource))
    }
  }

  /** What stands for a session: the same to look at, but what reaches it goes no further. */
  #stand(resource: Resource): Resource {
    const { jid, id, priority, shared, info } = resource
    const domainType = this.#server.routes.find(jid.domain)?.domainType ?? ''
    const session = isLocalSession(resource) ? resource : absent(jid, domainType)
    const points = new SessionPoints(this.#hooks, domainType)
    const outbound = new Outbound(
      {
        jid,
        isClosed: false,
        stages: outboundStages(points),
        points,
        acknowledges: false,
        acknowledged() {},
        close: async () => {},
        inSession: { session },
        connection: { isBlocked: false, write() {}, onceFlushed() {} },
      },
      { router: this.#router, log: silentLogger },
    )
    const deliver = (envelope: Envelope) => outbound.deliver(envelope)
    return { jid, id, priority, shared, info, deliver, close: async () => {} }
  }

  #link(module: RoutingModule, builtin: (() => RoutingModule) | undefined): RoutingModule {
    if (builtin !== undefined && isBuiltin(module)) return builtin()
    if (module.isPure === true) return module
    const { name } = module
    const route = (envelope: Envelope) => {
      this.tracing.remark({ verdict: 'unasked' })
      return envelope
    }
    return { name, route }
  }

  #service(domain: string) {
    const { domainType } = this.#server.routes.find(domain) ?? {}
    return { domain, domainType, isHosted: false, handle: forwarded('service') }
  }

  #components(): Components {
    const { components } = this.#server
    const taking = ({ to }: Envelope): Component | undefined => {
      if (!components.domains().includes(to.domain)) return undefined
      const handle = async (envelope: Envelope) => {
        const verdict = await this.#hooks.at('packet_to_component').run(envelope, {})
        if (verdict === DROP) return dropped('packet_to_component', 'filtered')
        return forwarded('component')(envelope)
      }
      return {
        id: to.domain,
        domains: [to.domain],
        isSubdomain: false,
        isHidden: false,
        isLocal: true,
        handle,
        awaits: () => false,
        close: async () => {},
      }
    }
    return {
      onThisNode: taking,
      onAnyNode: taking,
      isAway: (domain) => components.isAway(domain),
      domains: () => components.domains(),
    }
  }
}

/** Tells who would answer a request. */
class DryIq extends IqDispatcher {
  readonly #server: Server
  readonly #router: Router
  readonly #tracing: Tracing

  constructor(server: Server, router: Router, tracing: Tracing) {
    const domainTypeOf = (domain: string) => server.routes.find(domain)?.domainType
    super({ router, log: silentLogger, domainTypeOf, underWay: server.hooks.underWay })
    this.#server = server
    this.#router = router
    this.#tracing = tracing
  }

  override answer(target: IqTarget, envelope: Envelope): Outcome | Promise<Outcome> {
    const { iq } = this.#router.stages
    return this.#tracing.pass(iq, envelope, (followed) => this.#explain(target, followed))
  }

  #explain(target: IqTarget, envelope: Envelope): Outcome {
    const { stanza, to } = envelope
    const [child] = stanza.children
    if (child === undefined || stanza.children.length !== 1) throw new StanzaError('bad-request')
    const { name, ns } = child
    const domainType = this.#server.routes.find(to.domain)?.domainType
    const type = stanza.type as 'get' | 'set'
    const known = this.#server.iq.knows(target, { type, name, ns, domainType })
    if (known === true) {
      this.#tracing.remark({ verdict: 'would', detail: `ask who answers <${name}/> (${ns})` })
      return answered(`iq ${ns}`)
    }
    const condition = known === 'other' ? 'feature-not-implemented' : 'service-unavailable'
    return this.#router.bounce(envelope, new StanzaError(condition), `iq ${ns}`)
  }

  override accept(envelope: Envelope): Outcome {
    return this.#server.iq.isAwaited(envelope)
      ? answered('local')
      : dropped('local', 'unexpected answer')
  }
}

function forwarded(by: string) {
  return ({ to }: Envelope) => new Outcome('forwarded', by, to.domain)
}

/** The session of a client that is not connected. */
function absent(jid: FullJid, domainType: string): Session {
  return {
    jid,
    id: '',
    domainType,
    priority: undefined,
    presence: undefined,
    shared: {},
    info: { connection: 'tls', address: '', mechanism: '', isAnonymous: false, openedAt: 0 },
    lastActivity: 0,
    lastAction: 0,
    isClosed: true,
    deliver: () => false,
    close: async () => {},
    write() {},
    setPresence() {},
    share() {},
    hold: () => ({ through: () => false, release() {} }),
  }
}
