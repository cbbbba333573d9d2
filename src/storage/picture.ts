import { CompiledQuery } from 'kysely'
import type { SqlRow, SqlValue } from '../core/storage.ts'
import { openStorage } from './open.ts'
import { numbered } from './postgres-values.ts'
import type { Source } from './tables.ts'

/** The slowest target takes a page in less. */
const IDLE_MS = 60 * 60_000

/**
 * Opens a database beside whoever uses it, and lets `work` read what was in it at one moment, whatever
 * is written meanwhile. Nobody waits for it: SQLite keeps what is written in its log until then,
 * PostgreSQL keeps old rows. Rejects with a `StorageError`.
 */
export async function withPicture<T>(
  url: string,
  work: (source: Source) => Promise<T>,
): Promise<T> {
  await using storage = await openStorage(url, {
    mustExist: true,
    connections: 1,
    idleTransactionMs: IDLE_MS,
    statementTimeoutMs: 0,
  })
  const { dialect, db } = storage
  const reading = db.transaction().setAccessMode('read only')
  return await reading.execute((transaction) => {
    const read = async <Row = SqlRow>(text: string, parameters: readonly SqlValue[]) => {
      const spelled = dialect === 'postgresql' ? numbered(text) : text
      const { rows } = await transaction.executeQuery(CompiledQuery.raw(spelled, [...parameters]))
      return rows as readonly Row[]
    }
    return work({ dialect, read })
  })
}
