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
    // A server elsewhere may say anything; one of our own accounts has logged in.
    isAdmin: (jid) =>
      server.routes.isHosted(jid.domain) &&
      server.config.admin.jids.some((admin) => admin.bareEquals(jid)),
    log,
  })
  hooks.on('adhoc_commands', handler, { by: 'admin' })
}
