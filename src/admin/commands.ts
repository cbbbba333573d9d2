/** Everything that can be asked of a server. */
import type { DeclaredCommand } from '../core/command.ts'
import { type Command, moduleCommand } from './command.ts'
import { accountCommands } from './commands/account.ts'
import { adminCommands } from './commands/admin.ts'
import { backupCommands } from './commands/backup.ts'
import { clusterCommands } from './commands/cluster.ts'
import { componentCommands } from './commands/component.ts'
import { dataCommands } from './commands/data.ts'
import { domainCommands } from './commands/domain.ts'
import { explainCommands } from './commands/explain.ts'
import { hookCommands } from './commands/hook.ts'
import { messageCommands } from './commands/message.ts'
import { moduleCommands } from './commands/module.ts'
import { outcomeCommands } from './commands/outcome.ts'
import { reloadCommands } from './commands/reload.ts'
import { routeCommands } from './commands/route.ts'
import { s2sCommands } from './commands/s2s.ts'
import { serverCommands } from './commands/server.ts'
import { sessionCommands } from './commands/session.ts'
import { tokenCommands } from './commands/token.ts'

/** Of the server itself. */
export const commands: readonly Command[] = [
  ...accountCommands,
  ...dataCommands,
  ...backupCommands,
  ...sessionCommands,
  ...explainCommands,
  ...messageCommands,
  ...clusterCommands,
  ...componentCommands,
  ...s2sCommands,
  ...domainCommands,
  ...moduleCommands,
  ...hookCommands,
  ...outcomeCommands,
  ...routeCommands,
  ...tokenCommands,
  ...adminCommands,
  ...serverCommands,
  ...reloadCommands,
]

/** With what these modules declare. */
export function commandsWith(
  modules: readonly { readonly commands?: readonly DeclaredCommand[] }[],
): readonly Command[] {
  return [...commands, ...modules.flatMap((module) => module.commands ?? []).map(moduleCommand)]
}
