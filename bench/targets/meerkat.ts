import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gitCommit } from '../machine.ts'
import { type Setup, type Target, VARIANTS } from './target.ts'

const program = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

/** Limits as wide as those of the others. */
const configuration = ({ port, directory }: Setup) => `
domains = ["localhost"]
data_dir = "${directory}/data"

[[listen.c2s]]
address = "127.0.0.1"
port = ${port}
tls = "none"
allow_plain_without_tls = true
max_connections_per_address = 50_000
backlog = 4096

[auth]
registration = true

[limits]
max_sessions_per_user = 2_000

[log]
level = "warn"
`

export const meerkat: Target = {
  name: 'meerkat',
  protocol: 'xmpp',
  variants: VARIANTS,
  version: gitCommit,
  launch(setup) {
    const file = join(setup.directory, 'meerkat.toml')
    writeFileSync(file, configuration(setup))
    return { command: [process.execPath, program, 'start', '--config', file] }
  },
}
