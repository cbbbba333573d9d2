/** A process that holds the lock of a database until its input ends: `storage-lock.ts FILE`. */

import process from 'node:process'
import { DatabaseSync } from 'node:sqlite'

const file = process.argv[2]
if (import.meta.main && file !== undefined) {
  const database = new DatabaseSync(file)
  database.exec('begin exclusive')
  process.stdout.write('locked\n')
  for await (const _ of process.stdin);
  database.exec('rollback')
  database.close()
}
