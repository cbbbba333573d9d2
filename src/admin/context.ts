/**
 * What commands work on: a server, running or merely built. Each noun has its part, whose type is in
 * its file under `commands/` and which `server-admin/` makes from the server.
 */
import type { ModuleCommands } from '../core/command.ts'
import type { AdminAccounts } from './commands/account.ts'
import type { AdminAdministrators } from './commands/admin.ts'
import type { AdminBackup } from './commands/backup.ts'
import type { AdminCluster } from './commands/cluster.ts'
import type { AdminComponents } from './commands/component.ts'
import type { AdminData } from './commands/data.ts'
import type { AdminDomains } from './commands/domain.ts'
import type { AdminRoute } from './commands/message.ts'
import type { AdminModules } from './commands/module.ts'
import type { Reload } from './commands/reload.ts'
import type { AdminFederation } from './commands/s2s.ts'
import type { AdminProcess, RunningServer } from './commands/server.ts'
import type { AdminActivity, AdminSessions } from './commands/session.ts'
import type { AdminTokens } from './commands/token.ts'
import type { AdminTraces } from './streams/trace.ts'
import type { AdminTallies } from './tallies.ts'

export interface AdminContext {
  readonly version: string
  /** The name of this one among the nodes of the cluster. */
  readonly node: string
  /** Those that are hosted now. */
  readonly domains: readonly string[]
  readonly hosting: AdminDomains
  readonly accounts: AdminAccounts
  readonly data: AdminData
  readonly backups: AdminBackup
  readonly sessions: AdminSessions
  readonly activity: AdminActivity
  readonly route: AdminRoute
  readonly components: AdminComponents
  readonly federation: AdminFederation
  readonly loadedModules: AdminModules
  readonly tallies: AdminTallies
  readonly tokens: AdminTokens
  readonly administrators: AdminAdministrators
  readonly traces: AdminTraces
  /** Carries out what loaded modules declare. */
  readonly modules: Pick<ModuleCommands, 'run'>
  /** Absent while the server does not run. */
  readonly cluster?: AdminCluster | undefined
  /** Absent while the server does not run. */
  readonly reload?: Reload | undefined
  /** Absent where the server is part of another program. */
  readonly process?: AdminProcess | undefined
  /** Absent while the server does not run. */
  readonly running?: RunningServer | undefined
}
