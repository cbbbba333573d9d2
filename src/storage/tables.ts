import type { SqlDialect, SqlRow, SqlValue, Storage } from '../core/storage.ts'

/** While a copy into a database is not complete, it has this table; no server uses it then. */
export const COPY_TABLE = 'storage_copy'

/** A database that is only read. */
export type Source = Pick<Storage, 'dialect' | 'read'>

const TABLES: Readonly<Record<SqlDialect, string>> = {
  sqlite: `select name from sqlite_schema
    where type = 'table' and name not like 'sqlite\\_%' escape '\\' order by name`,
  postgresql:
    'select tablename as name from pg_tables where schemaname = current_schema() order by 1',
}

/** The names of all tables of a database, of whatever owner, in alphabetical order. */
export async function tableNames(storage: Source): Promise<readonly string[]> {
  const rows = await storage.read<{ name: string }>(TABLES[storage.dialect], [])
  return rows.map(({ name }) => name)
}

const COLUMNS: Readonly<Record<SqlDialect, string>> = {
  sqlite: 'select name, pk as place from pragma_table_info(?) order by cid',
  postgresql: `select attname as name,
      coalesce(array_position(indkey::int2[], attnum) + 1, 0) as place
    from pg_attribute left join pg_index on indrelid = attrelid and indisprimary
    where attrelid = cast(? as regclass) and attnum > 0 and not attisdropped order by attnum`,
}

export type Columns = {
  readonly all: readonly string[]
  /** Of the primary key, in its order. */
  readonly key: readonly string[]
}

export async function columnsOf(storage: Source, table: string): Promise<Columns> {
  type Row = { readonly name: string; readonly place: number }
  const rows = await storage.read<Row>(COLUMNS[storage.dialect], [table])
  const key = rows.filter(({ place }) => place > 0).sort((a, b) => a.place - b.place)
  return { all: rows.map(({ name }) => name), key: key.map(({ name }) => name) }
}

export async function countRows(storage: Source, table: string): Promise<number> {
  const [row] = await storage.read<{ count: number }>(`select count(*) as count from ${table}`, [])
  return row?.count ?? 0
}

/** The greatest number that a table with a counted key has ever given. */
export async function lastGiven(storage: Source, table: string, key: string): Promise<number> {
  const [text, parameters] =
    storage.dialect === 'sqlite'
      ? ['select seq as last from sqlite_sequence where name = ?', [table]]
      : [
          `select coalesce(pg_sequence_last_value(cast(pg_get_serial_sequence(?, ?) as regclass)), 0)
            as last`,
          [table, key],
        ]
  const [row] = await storage.read<{ last: number }>(text as string, parameters as SqlValue[])
  return row?.last ?? 0
}

/** The next number that it gives will be greater than `last`. */
export async function giveAfter(
  storage: Storage,
  table: string,
  key: string,
  last: number,
): Promise<void> {
  if (last < 1) return
  if (storage.dialect === 'postgresql') {
    await storage.write('select setval(pg_get_serial_sequence(?, ?), ?)', [table, key, last])
    return
  }
  await storage.writeAll([
    { sql: 'delete from sqlite_sequence where name = ?', parameters: [table] },
    { sql: 'insert into sqlite_sequence (name, seq) values (?, ?)', parameters: [table, last] },
  ])
}

/** Tables whose key the database counts up, with the name of that key. */
export async function countedKeys(storage: Storage): Promise<ReadonlyMap<string, string>> {
  const text =
    storage.dialect === 'sqlite'
      ? `select schema.name as name, info.name as key
          from sqlite_schema as schema, pragma_table_info(schema.name) as info
          where schema.type = 'table' and info.pk = 1 and schema.sql like '%autoincrement%'`
      : `select relname as name, attname as key
          from pg_attribute join pg_class on pg_class.oid = attrelid
          where relnamespace = cast(current_schema() as regnamespace) and attidentity <> ''`
  const rows = await storage.read<{ name: string; key: string }>(text, [])
  return new Map(rows.map(({ name, key }) => [name, key]))
}

/** Rows of a table behind `after` in the order of its key; `undefined` for the beginning. */
export async function rowsBehind(
  storage: Source,
  table: string,
  { key }: Columns,
  after: readonly SqlValue[] | undefined,
  limit: number,
): Promise<readonly SqlRow[]> {
  const names = key.join(', ')
  const marks = key.map(() => '?').join(', ')
  const where = after === undefined ? '' : `where (${names}) > (${marks})`
  const text = `select * from ${table} ${where} order by ${names} limit ?`
  return await storage.read(text, [...(after ?? []), limit])
}
