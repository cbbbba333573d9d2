import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gitCommit } from '../machine.ts'
import { configuration, meerkat, startOf } from './meerkat.ts'
import type { Target } from './target.ts'

const DEBIAN = '/usr/lib/postgresql'
/** `nobody`: the server refuses to run as root. */
const NOBODY = 65_534
const isRoot = process.getuid?.() === 0
const UNPRIVILEGED = isRoot
  ? ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups']
  : ['env']

/** Where the programs of the newest installed release are. */
function programs(): string | undefined {
  if (!existsSync(DEBIAN)) return undefined
  const [newest] = readdirSync(DEBIAN).sort((a, b) => Number(b) - Number(a))
  return newest === undefined ? undefined : join(DEBIAN, newest, 'bin')
}

/**
 * The database is a child of the shell, so its processes count as the server's. It has its own
 * settings, but for memory: every commit is on the disk before it is acknowledged.
 */
const SCRIPT = `
folder=$1 data=$2; shift 2
cd "$data"
trap : TERM
${UNPRIVILEGED.join(' ')} "$folder/postgres" -D cluster -k "$data" -c listen_addresses= -c shared_buffers=512MB -c max_wal_size=4GB > postgres.log 2>&1 &
until "$folder/pg_isready" -q -h "$data"; do sleep 0.1; done
"$folder/createdb" -h "$data" -U meerkat meerkat 2> /dev/null
"$@" &
wait $!
wait $!
kill -INT "$(head -1 cluster/postmaster.pid)"
wait
`

function createCluster(directory: string, data: string): void {
  if (existsSync(data)) return
  mkdirSync(data)
  if (isRoot) {
    // What leads there is open to the database's user.
    chmodSync(join(directory, '..'), 0o755)
    chownSync(data, NOBODY, NOBODY)
  }
  const [program = '', ...options] = [
    ...[...UNPRIVILEGED, join(programs() ?? '', 'initdb'), '-D', join(data, 'cluster')],
    ...['--no-sync', '-A', 'trust', '-U', 'meerkat', '-E', 'UTF8', '--locale', 'C'],
  ]
  execFileSync(program, options, { cwd: data, stdio: 'ignore' })
}

/** Meerkat on PostgreSQL, the database included in all figures. */
export const meerkatPostgresql: Target = {
  ...meerkat,
  name: 'meerkat-pg',
  isExtra: true,
  version: () => (programs() === undefined ? undefined : gitCommit()),
  launch(setup) {
    const data = join(setup.directory, 'database')
    createCluster(setup.directory, data)
    const file = join(setup.directory, 'meerkat.toml')
    const url = `postgres:///meerkat?host=${encodeURIComponent(data)}&user=meerkat`
    writeFileSync(file, configuration(setup, `[storage]\nurl = "${url}"\n`))
    const command = ['bash', '-c', SCRIPT, 'bash', programs() ?? '', data, ...startOf(file)]
    return { command }
  },
}
