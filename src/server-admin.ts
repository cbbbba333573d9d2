import type { AdminAccounts, AdminArchive, AdminContext, Listening } from './admin/command.ts'
import type { Listener } from './connection/listener.ts'
import { resultOf } from './core/hooks.ts'
import type { Server } from './server.ts'

/** A server as administration commands see it, started or not. */
export function adminContext(server: Server, version: string): AdminContext {
  return {
    version,
    domains: server.config.domains,
    accounts: adminAccounts(server),
    archive: adminArchive(server),
    sessions: server.sessionManager.sessions,
    get running() {
      const { startedAt } = server
      return startedAt === 0 ? undefined : { startedAt, listeners: listenersOf(server) }
    },
  }
}

/** Where it listens; the ports are those it got. For a server that was started. */
export function listenersOf(server: Server): Listening[] {
  const { config, listeners, serverListeners, componentListeners } = server
  const { c2s, s2s, component } = config.listen
  return [
    ...listening('c2s', c2s, listeners),
    ...listening('s2s', s2s, serverListeners),
    ...listening('component', component, componentListeners),
  ]
}

function listening(
  kind: string,
  settings: readonly { readonly address: string; readonly tls: string }[],
  listeners: readonly Listener[],
): Listening[] {
  return settings.flatMap(({ address, tls }, i) => {
    const bound = listeners[i]?.address
    if (bound === undefined) return []
    return [{ kind, address: address === '*' ? bound.host : address, port: bound.port, tls }]
  })
}

function adminAccounts({ accounts, lifecycle }: Server): AdminAccounts {
  return {
    register: (account, password) => lifecycle.register(account, password),
    remove: (account) => lifecycle.remove(account),
    setPassword: (account, password) => lifecycle.setPassword(account, password),
    list: (domain, page) => accounts.list(domain, page),
    count: (domain) => accounts.count(domain),
  }
}

function adminArchive({ hooks, routes }: Server): AdminArchive {
  return {
    async purge(before, owner) {
      const domainType = owner && routes.find(owner.domain)?.domainType
      const point = hooks.at('archive_purge', domainType)
      if (point.isEmpty) return undefined
      return resultOf(await point.run(0, { before, ...(owner && { owner }) }), 0)
    },
  }
}
