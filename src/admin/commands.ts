/** Everything that can be asked of a server. */
import type { DeclaredCommand } from '../core/command.ts'
import { type Command, moduleCommand } from './command.ts'
import { accountCommands } from './commands/account.ts'
import { archiveCommands } from './commands/archive.ts'
import { serverCommands } from './commands/server.ts'
import { sessionCommands } from './commands/session.ts'

/** Of the server itself. */
export const commands: readonly Command[] = [
  ...accountCommands,
  ...archiveCommands,
  ...sessionCommands,
  ...serverCommands,
]

/** With what these modules declare. */
export function commandsWith(
  modules: readonly { readonly commands?: readonly DeclaredCommand[] }[],
): readonly Command[] {
  return [...commands, ...modules.flatMap((module) => module.commands ?? []).map(moduleCommand)]
}
