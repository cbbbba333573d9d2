/**
 * A process that writes without end and prints the number of each row once it is stored, or the
 * kind of error that met it. Started by storage.test.ts, which kills it: `storage-writer.ts FILE`.
 */
import { once } from 'node:events'
import process from 'node:process'
import { type Migration, StorageError } from '../../src/core/storage.ts'
import { openSqlite } from '../../src/storage/sqlite.ts'

export const INSERT = 'insert into row (number, filling) values (?, ?)'

export const tables: Migration = {
  name: 'faults/0001-create',
  async up(db, types) {
    await db.schema
      .createTable('row')
      .addColumn('number', 'bigint', (column) => column.primaryKey())
      .addColumn('filling', types.text)
      .execute()
  },
}

const ROWS_PER_TURN = 7

function say(word: unknown): void {
  process.stdout.write(`${word}\n`)
}

async function writeWithoutEnd(file: string): Promise<void> {
  const storage = await openSqlite(file)
  await storage.migrate([tables])
  const filling = 'x'.repeat(500)
  for (let number = 0; ; ) {
    const turn = Array.from({ length: ROWS_PER_TURN }, async () => {
      const own = number++
      try {
        await storage.write(INSERT, [own, filling])
        say(own)
      } catch (error) {
        say(error instanceof StorageError ? error.kind : error)
      }
    })
    await Promise.all(turn)
    // Whoever listens may be slower than the disk.
    if (process.stdout.writableNeedDrain) await once(process.stdout, 'drain')
  }
}

// Whoever imports the tables does not write.
const file = process.argv[2]
if (import.meta.main && file !== undefined) await writeWithoutEnd(file)
