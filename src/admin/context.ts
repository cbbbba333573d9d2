/**
 * What commands work on: a server, running or merely built. Each noun has its part, whose type is in
 * its file under `commands/` and which `server-admin/` makes from the server.
 */
import type { ModuleCommands } from '../core/command.ts'
import type { AdminAccounts } from './commands/account.ts'
import type { AdminArchive } from './commands/archive.ts'
import type { RunningServer } from './commands/server.ts'
import type { AdminSessions } from './commands/session.ts'

export interface AdminContext {
  readonly version: string
  readonly domains: readonly string[]
  readonly accounts: AdminAccounts
  readonly archive: AdminArchive
  readonly sessions: AdminSessions
  /** Carries out what loaded modules declare. */
  readonly modules: Pick<ModuleCommands, 'run'>
  /** Absent while the server does not run. */
  readonly running?: RunningServer | undefined
}
