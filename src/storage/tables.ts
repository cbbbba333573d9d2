import type { Storage } from '../core/storage.ts'

const TABLES = {
  sqlite: `select name from sqlite_schema
    where type = 'table' and name not like 'sqlite\\_%' escape '\\' order by name`,
  postgresql:
    'select tablename as name from pg_tables where schemaname = current_schema() order by 1',
}

/** The names of all tables of a database, of whatever owner, in alphabetical order. */
export async function tableNames(storage: Storage): Promise<readonly string[]> {
  const rows = await storage.read<{ name: string }>(TABLES[storage.dialect], [])
  return rows.map(({ name }) => name)
}
