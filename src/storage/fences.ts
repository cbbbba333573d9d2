import type { Migration } from '../core/storage.ts'
import type { StorageQueue } from './queued-storage.ts'
import { toRows } from './statements.ts'

declare module '../core/storage.ts' {
  interface Schema {
    /** Runs of nodes that were shut out: the last of each. */
    node_fence: { node: string; epoch: number }
    /** PostgreSQL: runs whose connection may still be there. */
    node_run: { node: string; epoch: number }
  }
}

export const fenceMigrations: readonly Migration[] = [
  {
    name: 'fences/0001-create',
    async up(db, types) {
      await db.schema
        .createTable('node_fence')
        .addColumn('node', types.text, (column) => column.primaryKey())
        .addColumn('epoch', 'bigint', (column) => column.notNull())
        .execute()
    },
  },
  {
    name: 'fences/0002-runs',
    async up(db, types) {
      await db.schema
        .createTable('node_run')
        .addColumn('node', types.text, (column) => column.notNull())
        .addColumn('epoch', 'bigint', (column) => column.notNull())
        .addPrimaryKeyConstraint('node_run_pk', ['node', 'epoch'])
        .execute()
    },
  },
]

/** `lastOf` of `Fences`. */
export async function lastShutOut(queue: StorageQueue, node: string): Promise<number> {
  const sql = 'select epoch from node_fence where node = ?'
  const rows = await queue.read(sql, [node], toRows<{ epoch: number }>)
  return rows[0]?.epoch ?? 0
}

/** With the greatest epoch of a node that is over. */
export const SHUT_OUT = `insert into node_fence (node, epoch) values (?, ?)
  on conflict (node) do update set epoch = excluded.epoch
  where excluded.epoch > node_fence.epoch`
