import type { AdminContext } from '../../src/admin/context.ts'
import { ModuleCommands } from '../../src/core/command.ts'

/** A server without accounts, sessions or modules, for tests of commands to fill. */
export const emptyContext: AdminContext = {
  version: '1.2.3',
  domains: ['localhost'],
  accounts: {
    register: async () => true,
    remove: async () => true,
    setPassword: async () => true,
    list: async () => [],
    count: async () => 0,
  },
  archive: { purge: async () => undefined },
  sessions: { size: 0, values: () => [] },
  modules: new ModuleCommands(),
}
