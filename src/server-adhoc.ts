import { offerCommands } from './admin/adhoc/offer.ts'
import { commandsWith } from './admin/commands.ts'
import { SOFTWARE } from './core/software.ts'
import type { Server } from './server.ts'
import { adminContext } from './server-admin.ts'

/** Administrators may give every command from their chat clients. */
export function offerAdministration(server: Server): void {
  const { hooks, log } = server
  const handler = offerCommands({
    commands: () => commandsWith(server.modules.modules),
    context: adminContext(server, SOFTWARE.version),
    // Only who has logged in here: others may be spoken for.
    isAdmin: ({ from, session }) =>
      session?.jid.equals(from) === true &&
      !session.info.isAnonymous &&
      server.administrators.has(from),
    log,
  })
  hooks.on('adhoc_commands', handler, { by: 'admin' })
}
