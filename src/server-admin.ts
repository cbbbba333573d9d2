import type { AdminAccounts, AdminContext, Listening } from './admin/command.ts'
import type { HookName } from './core/hooks.ts'
import type { Server } from './server.ts'
import type { BareJid } from './xmpp/jid.ts'
import { StreamError } from './xmpp/stream-error.ts'

/** A server as administration commands see it, started or not. */
export function adminContext(server: Server, version: string): AdminContext {
  return {
    version,
    domains: server.config.domains,
    accounts: adminAccounts(server),
    sessions: server.sessionManager.sessions,
    get running() {
      const { startedAt } = server
      return startedAt === 0 ? undefined : { startedAt, listeners: listenersOf(server) }
    },
  }
}

/** Where it listens; the ports are those it got. For a server that was started. */
export function listenersOf({ config, listeners }: Server): Listening[] {
  return config.listen.c2s.flatMap(({ address, tls }, i) => {
    const bound = listeners[i]?.address
    if (bound === undefined) return []
    return [{ kind: 'c2s', address: address === '*' ? bound.host : address, port: bound.port, tls }]
  })
}

function adminAccounts({ accounts, hooks, routes, sessionManager }: Server): AdminAccounts {
  const hook = (name: HookName & ('register_user' | 'remove_user'), { domain }: BareJid) =>
    hooks.at(name, routes.find(domain)?.domainType)

  return {
    async register(jid, password) {
      const isNew = await accounts.create(jid, password)
      if (isNew) await hook('register_user', jid).run(jid, {})
      return isNew
    },
    async remove(jid) {
      if (!(await accounts.remove(jid))) return false
      // Sessions first: what they are about to receive goes to the modules, which forget it then.
      const gone = new StreamError('not-authorized', 'The account is removed')
      await Promise.all(sessionManager.sessions.of(jid.bare).map((session) => session.close(gone)))
      await hook('remove_user', jid).run(jid, {})
      return true
    },
    setPassword: (jid, password) => accounts.setPassword(jid, password),
    list: (domain, page) => accounts.list(domain, page),
    count: (domain) => accounts.count(domain),
  }
}
