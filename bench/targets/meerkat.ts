import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import manifest from '../../package.json' with { type: 'json' }
import { callCommand } from '../../src/admin/control-client.ts'
import { modules } from '../../src/modules.ts'
import { gitCommit } from '../machine.ts'
import { COMPONENT, PASSWORD, type Setup, type Target, VARIANTS, type Variant } from './target.ts'

const program = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

const probe = new URL('../probe.ts', import.meta.url).href

/** As few modules as the others have when they are bare. */
const BARE_MODULES = ['disco', 'roster', 'presence', 'offline', 'ping', 'legacy_session']

/** How many accounts are created at the same time. */
const REGISTRATIONS_AT_ONCE = 8

function isEnabled(module: string, variant: Variant): boolean {
  if (variant === 'bare') return BARE_MODULES.includes(module)
  return variant === 'archive' || module !== 'archive'
}

function moduleTables(variant: Variant): string {
  return modules
    .filter(({ name }) => !isEnabled(name, variant))
    .map(({ name }) => `[modules.${name}]\nenabled = false\n`)
    .join('\n')
}

function listeners({ tls, componentPort }: Setup): string {
  const component = `[[listen.component]]
address = "127.0.0.1"
port = ${componentPort}
secret = "${COMPONENT.secret}"
`
  const certificate = `[tls]
certificate = "${tls?.certificate}"
key = "${tls?.key}"
`
  return [componentPort && component, tls && certificate].filter(Boolean).join('\n')
}

/** Limits as wide as those of the others. */
export const configuration = (setup: Setup, storage = '') => `
domains = ["localhost"]
data_dir = "${setup.directory}/data"

[[listen.c2s]]
address = "127.0.0.1"
port = ${setup.port}
tls = "${setup.tls ? 'starttls' : 'none'}"
allow_plain_without_tls = true
max_connections_per_address = 50_000
backlog = 4096

${listeners(setup)}
# Logins at the same time are guesses until each has been looked at.
[auth]
wrong_passwords_per_account = 100_000
wrong_passwords_per_address = 100_000

[limits]
max_sessions_per_user = 2_000

[modules.roster]
max_requests = 50_000

[log]
level = "warn"

${storage}
${moduleTables(setup.variant)}`

/** What `npm start` tells Node. */
const nodeOptions = manifest.scripts.start.split(' ').filter((word) => word.startsWith('--'))

export const startOf = (file: string) => [
  process.execPath,
  ...nodeOptions,
  program,
  ...['start', '--config', file],
]

/** Meerkat with `probe.ts` in it, and with these options of Node. */
export function probed(options: readonly string[]): Target {
  return {
    ...meerkat,
    launch(setup) {
      const { command } = meerkat.launch(setup)
      const [node = '', ...rest] = command
      return { command: [node, ...options, '--import', probe, ...rest], hasProbe: true }
    },
  }
}

export const meerkat: Target = {
  name: 'meerkat',
  protocol: 'xmpp',
  variants: VARIANTS,
  version: gitCommit,
  launch(setup) {
    const file = join(setup.directory, 'meerkat.toml')
    writeFileSync(file, configuration(setup))
    return { command: startOf(file) }
  },
  async register({ directory }, accounts) {
    const socket = join(directory, 'data', 'meerkat.sock')
    let next = 0
    const work = async () => {
      while (next < accounts) {
        const jid = `user${next++}@localhost`
        await callCommand(socket, 'account register', { jid, password: PASSWORD })
      }
    }
    await Promise.all(Array.from({ length: REGISTRATIONS_AT_ONCE }, work))
  },
}
