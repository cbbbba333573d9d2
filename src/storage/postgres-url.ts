import { StorageError } from '../core/storage.ts'

/** One server that may have the database. */
export type PostgresHost = {
  /** As `pg` takes it. */
  readonly connectionString: string
  /** Without what is secret. */
  readonly name: string
}

export type PostgresAddress = {
  readonly hosts: readonly PostgresHost[]
  /** The hosts and the database, for messages. */
  readonly name: string
}

const FORM = /^(postgres(?:ql)?:\/\/)(?:([^@/?]*)@)?([^@/?]*)(\/[^?]*)?(\?.*)?$/

/**
 * Reads `postgres://user:password@host:port/database`; several hosts, separated by commas, are
 * tried in turn until one takes writes. Everything else is as `pg` reads it: `?sslmode=…`,
 * `?host=/run/postgresql`, and `PGPASSWORD` and the password file in the absence of a password.
 */
export function parsePostgresUrl(url: string): PostgresAddress {
  const [, scheme, login, hosts, path = '', query = ''] = FORM.exec(url) ?? []
  if (scheme === undefined || hosts === undefined) {
    // The URL itself may hold a password.
    throw new StorageError(
      'other',
      'The storage URL reads postgres://user@host:5432/database; special characters in the password are written %XX',
    )
  }
  const user = login === undefined ? '' : `${login}@`
  const database = decodeURIComponent(path.slice(1))
  const placed = hosts.split(',').map((host) => ({
    connectionString: `${scheme}${user}${host}${path}${query}`,
    name: host === '' ? (new URLSearchParams(query).get('host') ?? 'localhost') : unescaped(host),
  }))
  const names = placed.map(({ name }) => name).join(', ')
  return { hosts: placed, name: `PostgreSQL database ${database} at ${names}` }
}

function unescaped(host: string): string {
  return host.includes('%') ? decodeURIComponent(host) : host
}
