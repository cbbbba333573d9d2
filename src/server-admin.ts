import type { Command } from './admin/command.ts'
import { commandsWith } from './admin/commands.ts'
import type { AdminContext } from './admin/context.ts'
import { modules as builtinModules } from './modules.ts'
import type { Server } from './server.ts'
import { adminAccounts } from './server-admin/account.ts'
import { adminBackup } from './server-admin/backup.ts'
import { adminData } from './server-admin/data.ts'
import { adminDomains } from './server-admin/domains.ts'
import { listenersOf } from './server-admin/listeners.ts'
import { adminRoute } from './server-admin/route.ts'

/** Of modules of the operator's own, too. Those that are not loaded may be later. */
export function commandsOf(server: Pick<Server, 'modules'>): readonly Command[] {
  return commandsWith([...new Set([...builtinModules, ...server.modules.modules])])
}

/** A server as administration commands see it, started or not: one line for each noun. */
export function adminContext(server: Server, version: string): AdminContext {
  return {
    version,
    node: server.cluster.self.node,
    get domains() {
      return server.domains.names
    },
    hosting: adminDomains(server),
    accounts: adminAccounts(server),
    data: adminData(server),
    backups: adminBackup(server),
    sessions: server.sessionManager.sessions,
    activity: server.activity,
    route: adminRoute(server),
    components: server.components,
    federation: server.links,
    loadedModules: server.modules,
    tallies: server.tallies,
    tokens: server.tokens,
    administrators: server.administrators,
    traces: server.traces,
    modules: server.commands,
    get cluster() {
      const { nodes } = server.cluster
      return server.startedAt === 0
        ? undefined
        : { nodes, drain: server.drain.run.bind(server.drain) }
    },
    get reload() {
      return server.reloadFile
    },
    get process() {
      return server.process
    },
    get running() {
      const { startedAt } = server
      return startedAt === 0 ? undefined : { startedAt, listeners: listenersOf(server) }
    },
  }
}
