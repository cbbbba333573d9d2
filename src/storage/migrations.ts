import type { Kysely } from 'kysely'
import {
  type ColumnTypes,
  type Migration,
  type Schema,
  type Storage,
  StorageError,
} from '../core/storage.ts'
import { COPY_TABLE, tableNames } from './tables.ts'

type Place = {
  /** What to call it in an error. */
  readonly database: string
  /** Runs first in each transaction, where a transaction does not lock out other writers itself. */
  readonly lock?: (transaction: Kysely<Schema>) => Promise<void>
}

/**
 * Runs what has not run yet; contract at `Storage.migrate`. Each migration looks for its own record
 * again inside its transaction, so that of two processes that start together one finds the work
 * done.
 */
export async function runMigrations(
  db: Kysely<Schema>,
  migrations: readonly Migration[],
  types: ColumnTypes,
  place: Place,
): Promise<void> {
  checkOrder(migrations)
  const inTransaction = <T>(work: (transaction: Kysely<Schema>) => Promise<T>) =>
    db.transaction().execute(async (transaction) => {
      await place.lock?.(transaction)
      return await work(transaction)
    })
  const applied = await inTransaction((transaction) => recorded(transaction, types))
  refuseNewer(applied, migrations, place.database)
  for (const migration of migrations) {
    if (applied.has(migration.name)) continue
    await inTransaction((transaction) => run(transaction, migration, types))
  }
}

/** The names of all that have run. */
async function recorded(db: Kysely<Schema>, types: ColumnTypes): Promise<ReadonlySet<string>> {
  await db.schema
    .createTable('migration')
    .ifNotExists()
    .addColumn('name', types.text, (column) => column.primaryKey())
    .addColumn('applied_at', 'bigint', (column) => column.notNull())
    .execute()
  const rows = await db.selectFrom('migration').select('name').execute()
  return new Set(rows.map(({ name }) => name))
}

async function run(
  transaction: Kysely<Schema>,
  migration: Migration,
  types: ColumnTypes,
): Promise<void> {
  const record = await transaction
    .selectFrom('migration')
    .select('name')
    .where('name', '=', migration.name)
    .executeTakeFirst()
  if (record) return
  await migration.up(transaction as unknown as Kysely<unknown>, types)
  await transaction
    .insertInto('migration')
    .values({ name: migration.name, applied_at: Date.now() })
    .execute()
}

/** Half of the data would look like all of it. */
export async function refuseUnfinished(storage: Storage, database: string): Promise<void> {
  if (!(await tableNames(storage)).includes(COPY_TABLE)) return
  throw new StorageError(
    'incompatible',
    `The copy into ${database} was interrupted. Give the command that began it ("storage copy" or "restore") once more; it goes on where it was.`,
  )
}

const ownerOf = (name: string) => name.slice(0, name.lastIndexOf('/'))

function checkOrder(migrations: readonly Migration[]): void {
  const last = new Map<string, string>()
  for (const { name } of migrations) {
    const owner = ownerOf(name)
    const previous = last.get(owner)
    if (previous !== undefined && previous >= name) {
      throw new StorageError('other', `The migration ${name} comes after ${previous}`)
    }
    last.set(owner, name)
  }
}

function refuseNewer(
  applied: ReadonlySet<string>,
  migrations: readonly Migration[],
  database: string,
): void {
  const known = new Set<string>(migrations.map(({ name }) => name))
  const owners = new Set(migrations.map(({ name }) => ownerOf(name)))
  for (const name of applied) {
    if (known.has(name) || !owners.has(ownerOf(name))) continue
    throw new StorageError(
      'incompatible',
      `The database ${database} has been through ${name}, which this release does not know: a newer release wrote it. Start that release again, or restore the backup made before the upgrade. Nothing was changed.`,
    )
  }
}
