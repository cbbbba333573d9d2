import type { AdminContext } from '../../src/admin/context.ts'
import { ModuleCommands } from '../../src/core/command.ts'
import { Outcome } from '../../src/core/outcome.ts'

const NOTHING = { accounts: 0, existing: 0, added: 0, there: 0, problems: [], problemCount: 0 }

/** A server without accounts, sessions or modules, for tests of commands to fill. */
export const emptyContext: AdminContext = {
  version: '1.2.3',
  node: 'local',
  domains: ['localhost'],
  hosting: {
    list: () => [{ name: 'localhost', state: 'enabled', isFixed: true }],
    add: async () => [],
    enable: async () => [],
    disable: async () => [],
    remove: async () => 0,
  },
  accounts: {
    register: async () => true,
    remove: async () => true,
    setPassword: async () => true,
    list: async () => [],
    count: async () => 0,
    find: async () => undefined,
    setDisabled: async () => false,
  },
  data: {
    write: async () => '/nowhere',
    read: async () => NOTHING,
    readProsody: async () => NOTHING,
  },
  backups: { backUp: async () => ({ file: '/nowhere', tables: [] }) },
  sessions: { size: 0, values: () => [], of: () => [] },
  activity: { active: async () => new Set() },
  route: { send: async () => new Outcome('dropped', 'nobody'), explain: async () => [] },
  components: { connections: [] },
  loadedModules: { loaded: [] },
  federation: {
    list: async () => ({ answers: [], silent: [] }),
    disconnect: async () => ({ answers: [], silent: [] }),
  },
  tallies: { of: async () => ({ answers: [], silent: [] }) },
  tokens: {
    create: async () => ({ token: '', id: '' }),
    list: async () => [],
    revoke: async () => false,
  },
  administrators: {
    all: [],
    has: () => false,
    isFixed: () => false,
    add: async () => {},
    remove: async () => false,
  },
  traces: { follow: () => () => {} },
  modules: new ModuleCommands(),
}
