/** Moves all that a server keeps from one database to another. */
import type { Progress } from '../core/command.ts'
import {
  type Migration,
  type SqlRow,
  type SqlValue,
  type Statement,
  type Storage,
  StorageError,
} from '../core/storage.ts'
import {
  COPY_TABLE,
  type Columns,
  columnsOf,
  countedKeys,
  countRows,
  giveAfter,
  lastGiven,
  rowsBehind,
  type Source,
  tableNames,
} from './tables.ts'

/** One page is about as large. */
const PAGE_BYTES = 1024 * 1024
const MAX_PAGE_ROWS = 1000
const FIRST_PAGE_ROWS = 100

/** What a server makes anew of the rest: indexes, and how far they go. */
const DERIVED = /^archive_(text|index|indexed)(_|$)/
/** Written by the migrations themselves; by a server at its first start; by us. */
const OWN: ReadonlySet<string> = new Set(['migration', COPY_TABLE])
const REPLACED: readonly string[] = ['secret', 'archive_indexed']
const MADE_AT_START: ReadonlySet<string> = new Set([...OWN, ...REPLACED])

export type Copied = { readonly table: string; readonly rows: number }

type Plan = {
  readonly from: Source
  readonly to: Storage
  /** Says which database a copy that was interrupted came from. */
  readonly source: string
  /** The core's, and those of all modules there are. */
  readonly migrations: readonly Migration[]
  readonly onProgress: (progress: Progress) => void
}

/**
 * Copies every table, page by page; each page and how far it goes are stored together, so that a
 * copy that was interrupted goes on where it was. Rejects with a `StorageError` that says what is in
 * the way: then the target has nothing new, or may be gone on with. No server may use the target, nor the source unless
 * it is a picture.
 */
export async function copyStorage(plan: Plan): Promise<readonly Copied[]> {
  const { from, to } = plan
  const migrations = await migrationsOf(from, plan.migrations)
  await prepare(plan, migrations)
  const tables = await tablesToCopy(from, to)
  const totals = new Map<string, number>()
  for (const table of tables) totals.set(table, await countRows(from, table))
  const total = [...totals.values()].reduce((sum, count) => sum + count, 0)
  let before = 0
  for (const table of tables) {
    const onRows = (rows: number) => {
      plan.onProgress({ done: before + rows, total, of: `rows, ${table}` })
    }
    before += await copyTable(plan, table, onRows)
  }
  for (const [table, key] of await countedKeys(to)) {
    if (tables.includes(table)) await giveAfter(to, table, key, await lastGiven(from, table, key))
  }
  const copied: Copied[] = []
  for (const table of tables) copied.push(await verified(plan, table))
  await to.write(`drop table ${COPY_TABLE}`, [])
  return copied
}

const ownerOf = (name: string) => name.slice(0, name.lastIndexOf('/'))

/** What the source has been through; all of it, and nothing that is not known here. */
async function migrationsOf(
  from: Source,
  known: readonly Migration[],
): Promise<readonly Migration[]> {
  if (!(await tableNames(from)).includes('migration')) {
    throw new StorageError('incompatible', 'The source has no data of a server')
  }
  const rows = await from.read<{ name: string }>('select name from migration order by name', [])
  const applied = new Set(rows.map(({ name }) => name))
  const owners = new Set([...applied].map(ownerOf))
  for (const name of applied) {
    if (known.some((migration) => migration.name === name)) continue
    const owner = ownerOf(name)
    const remedy = known.some((migration) => ownerOf(migration.name) === owner)
      ? 'a newer release wrote it: use that'
      : `no module ${owner} is known here: name the configuration that has it with --config`
    throw new StorageError('incompatible', `The source has been through ${name}; ${remedy}`)
  }
  const needed = known.filter(({ name }) => owners.has(ownerOf(name)))
  const missing = needed.find(({ name }) => !applied.has(name))
  if (missing !== undefined) {
    throw new StorageError(
      'incompatible',
      `The source has not been through ${missing.name}: start this release on it once`,
    )
  }
  return needed
}

/** Creates the tables, or finds those of the same copy, interrupted. */
async function prepare({ to, source }: Plan, migrations: readonly Migration[]): Promise<void> {
  const there = await tableNames(to)
  if (there.includes(COPY_TABLE)) {
    const [begun] = await to.read<{ source: string }>(`select source from ${COPY_TABLE}`, [])
    if (begun === undefined || begun.source === source) return
    throw new StorageError(
      'incompatible',
      `The target holds an unfinished copy of ${begun.source}: finish that, or use an empty database`,
    )
  }
  if (there.length > 0 && !there.includes('migration')) {
    throw new StorageError(
      'incompatible',
      `The target holds tables of another program (${there[0]}): use an empty database`,
    )
  }
  for (const table of there) {
    if (MADE_AT_START.has(table)) continue
    const count = await countRows(to, table)
    if (count === 0) continue
    throw new StorageError(
      'incompatible',
      `The target holds data already (${table}: ${count} rows): use an empty database`,
    )
  }
  await to.migrate(migrations)
  await to.writeAll([
    {
      sql: `create table ${COPY_TABLE} (source text not null, table_name text not null,
        after text not null, done bigint not null)`,
      parameters: [],
    },
    ...REPLACED.filter((table) => there.includes(table)).map((table) => ({
      sql: `delete from ${table}`,
      parameters: [],
    })),
    {
      sql: `insert into ${COPY_TABLE} (source, table_name, after, done) values (?, '', '', 0)`,
      parameters: [source],
    },
  ])
}

async function tablesToCopy(from: Source, to: Storage): Promise<readonly string[]> {
  const there = await tableNames(to)
  const tables = (await tableNames(from)).filter((name) => !OWN.has(name) && !DERIVED.test(name))
  const unknown = tables.find((name) => !there.includes(name))
  if (unknown === undefined) return tables
  throw new StorageError('incompatible', `The source has a table that no module knows: ${unknown}`)
}

/** Returns how many rows it has copied, in earlier attempts too. */
async function copyTable(
  { from, to, source }: Plan,
  table: string,
  onRows: (rows: number) => void,
): Promise<number> {
  const columns = await columnsOf(from, table)
  if (columns.key.length === 0) {
    throw new StorageError('incompatible', `The table ${table} has no primary key`)
  }
  const insert = `insert into ${table} (${columns.all.join(', ')})
    values (${columns.all.map(() => '?').join(', ')})`
  let { after, done } = await progressOf(to, table)
  if (after === undefined) {
    await to.write(
      `insert into ${COPY_TABLE} (source, table_name, after, done) values (?, ?, '', 0)`,
      [source, table],
    )
  }
  let limit = FIRST_PAGE_ROWS
  onRows(done)
  for (;;) {
    const rows = await rowsBehind(from, table, columns, after || undefined, limit)
    const last = rows.at(-1)
    if (last === undefined) return done
    after = keyOf(last, columns)
    done += rows.length
    const inserts: Statement[] = rows.map((row) => ({
      sql: insert,
      parameters: columns.all.map((name) => row[name] ?? null),
    }))
    const sql = `update ${COPY_TABLE} set after = ?, done = ? where table_name = ?`
    await to.writeAll([...inserts, { sql, parameters: [JSON.stringify(after), done, table] }])
    onRows(done)
    limit = pageRows(rows)
  }
}

async function progressOf(
  to: Storage,
  table: string,
): Promise<{ after: readonly SqlValue[] | undefined | null; done: number }> {
  const [row] = await to.read<{ after: string; done: number }>(
    `select after, done from ${COPY_TABLE} where table_name = ?`,
    [table],
  )
  if (row === undefined) return { after: undefined, done: 0 }
  return { after: row.after === '' ? null : (JSON.parse(row.after) as SqlValue[]), done: row.done }
}

function keyOf(row: SqlRow, { key }: Columns): readonly SqlValue[] {
  return key.map((name) => {
    const value = row[name] ?? null
    if (!(value instanceof Uint8Array)) return value
    throw new StorageError('incompatible', `The key ${name} is made of bytes`)
  })
}

/** How many rows like these make up a page. */
function pageRows(rows: readonly SqlRow[]): number {
  let bytes = 1
  for (const row of rows) {
    for (const value of Object.values(row)) {
      bytes += typeof value === 'string' || value instanceof Uint8Array ? value.length : 8
    }
  }
  const fitting = Math.floor((PAGE_BYTES * rows.length) / bytes)
  return Math.min(Math.max(fitting, 1), MAX_PAGE_ROWS)
}

async function verified({ from, to }: Plan, table: string): Promise<Copied> {
  const [rows, there] = [await countRows(from, table), await countRows(to, table)]
  if (rows === there) return { table, rows }
  throw new StorageError(
    'other',
    `The copy is not complete: ${table} has ${rows} rows in the source and ${there} in the target. Did something write to one of them meanwhile? Begin again with an empty database.`,
  )
}
