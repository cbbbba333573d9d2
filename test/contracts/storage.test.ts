import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { sql } from 'kysely'
import type { Migration, Storage, StorageErrorKind } from '../../src/core/storage.ts'
import { backends } from '../support/storage-backends.ts'
import { runHistory, steps } from '../support/storage-model.ts'

const tables: Migration = {
  name: 'test/0001-create',
  async up(db, types) {
    await db.schema
      .createTable('line')
      .addColumn('id', types.text, (column) => column.primaryKey())
      .addColumn('text', types.text)
      .execute()
    await db.schema
      .createTable('sample')
      .addColumn('id', types.serialKey)
      .addColumn('text', types.text)
      .addColumn('bytes', types.bytes)
      .addColumn('amount', 'double precision')
      .addColumn('big', 'bigint')
      .execute()
  },
}

const INSERT = 'insert into line (id, text) values (?, ?)'
const SELECT = 'select id, text from line order by id'

const idsIn = async (storage: Storage) =>
  (await storage.read<{ id: string }>(SELECT, [])).map(({ id }) => id)

const ofKind = (kind: StorageErrorKind) => ({ name: 'StorageError', kind })

const nextTurn = () => new Promise((resolve) => setImmediate(resolve))

for (const [name, start] of Object.entries(backends)) {
  const opened = async () => {
    const backend = await start()
    const storage = await backend.open()
    await storage.migrate([tables])
    return {
      backend,
      storage,
      async [Symbol.asyncDispose]() {
        await storage.close()
        await backend[Symbol.asyncDispose]()
      },
    }
  }

  test(`${name}: what it has to do, and has done, is counted`, async () => {
    await using opening = await opened()
    const { storage } = opening
    const before = storage.load
    assert.deepEqual([before.waiting, before.waitingBytes], [0, 0])
    const work = [
      storage.write(INSERT, ['a', 'one']),
      storage.read(SELECT, []),
      storage.write(INSERT, ['a', 'the same again']).catch(() => {}),
    ]
    assert.equal(storage.load.waiting, 3)
    assert.ok(storage.load.waitingBytes > 0)
    await Promise.all(work)
    const { waiting, waitingBytes, batches, seconds } = storage.load
    assert.deepEqual([waiting, waitingBytes], [0, 0])
    assert.ok(batches > before.batches && seconds > before.seconds)
  })

  test(`${name}: a write is there for the next who opens the database`, async () => {
    await using backend = await start()
    {
      await using storage = await backend.open()
      await storage.migrate([tables])
      const result = await storage.write(INSERT, ['a', 'Soft! what light'])
      assert.deepEqual(result, { changes: 1, rows: [] })
    }
    await using storage = await backend.open()
    assert.deepEqual(await storage.read(SELECT, []), [{ id: 'a', text: 'Soft! what light' }])
  })

  test(`${name}: values come back as they went in`, async () => {
    await using given = await opened()
    const { storage } = given
    const samples = [
      { text: '', bytes: new Uint8Array(), amount: 0, big: 0 },
      {
        text: 'naïve 🦦 \u{10ffff}',
        bytes: new Uint8Array([0, 255]),
        amount: 0.1,
        big: 2 ** 53 - 1,
      },
      { text: "'; drop table line --", bytes: Buffer.from('pooled'), amount: -1e300, big: -1 },
      { text: null, bytes: null, amount: null, big: null },
    ]
    for (const { text, bytes, amount, big } of samples) {
      const { rows } = await storage.write(
        'insert into sample (text, bytes, amount, big) values (?, ?, ?, ?) returning text, bytes, amount, big',
        [text, bytes, amount, big],
      )
      const expected = { text, bytes: bytes && new Uint8Array(bytes), amount, big }
      assert.deepEqual(rows, [expected])
    }
    const ids = await storage.read('select id from sample order by id', [])
    assert.deepEqual(
      ids,
      [1, 2, 3, 4].map((id) => ({ id })),
    )
  })

  test(`${name}: an integer that a number cannot hold fails instead of losing digits`, async () => {
    await using given = await opened()
    await given.storage.write('insert into sample (big) values (?)', [2n ** 60n])
    await assert.rejects(given.storage.read('select big from sample', []), ofKind('other'))
  })

  test(`${name}: a caller may reuse its buffer once it has asked`, async () => {
    await using given = await opened()
    const bytes = new Uint8Array([1, 2, 3])
    const writing = given.storage.write('insert into sample (bytes) values (?)', [bytes])
    bytes.fill(9)
    await writing
    const rows = await given.storage.read('select bytes from sample', [])
    assert.deepEqual(rows, [{ bytes: new Uint8Array([1, 2, 3]) }])
  })

  test(`${name}: text sorts by code point`, async () => {
    await using given = await opened()
    const inOrder = ['A', 'Z', 'a', 'z', 'é', '\uff5a', '🦦']
    await Promise.all(inOrder.toReversed().map((id) => given.storage.write(INSERT, [id, null])))
    assert.deepEqual(await idsIn(given.storage), inOrder)
  })

  test(`${name}: a statement that fails fails alone`, async () => {
    await using given = await opened()
    const { storage } = given
    const results = await Promise.allSettled([
      storage.write(INSERT, ['a', 'first']),
      storage.write(INSERT, ['a', 'again']),
      storage.write('insert into nowhere values (1)', []),
      storage.read('select nothing', []),
      storage.write(INSERT, ['b', true as unknown as string]),
      storage.write(INSERT, ['c', 'last']),
    ])
    assert.deepEqual(
      results.map((result) => (result.status === 'rejected' ? result.reason.kind : 'stored')),
      ['stored', 'constraint', 'other', 'other', 'other', 'stored'],
    )
    assert.deepEqual(await idsIn(storage), ['a', 'c'])
  })

  test(`${name}: writeAll stores all or nothing, and leaves its neighbours alone`, async () => {
    await using given = await opened()
    const { storage } = given
    const insert = (id: string) => ({ sql: INSERT, parameters: [id, null] })
    const before = storage.write(INSERT, ['a', null])
    const failing = storage.writeAll([insert('b'), insert('c'), insert('a'), insert('d')])
    const working = storage.writeAll([
      insert('e'),
      { sql: 'update line set text = ?', parameters: ['changed'] },
      { sql: 'delete from line where id = ? returning id', parameters: ['a'] },
    ])
    await assert.rejects(failing, ofKind('constraint'))
    await before
    assert.deepEqual(await working, [
      { changes: 1, rows: [] },
      { changes: 2, rows: [] },
      { changes: 1, rows: [{ id: 'a' }] },
    ])
    assert.deepEqual(await storage.read(SELECT, []), [{ id: 'e', text: 'changed' }])
    assert.deepEqual(await storage.writeAll([]), [])
  })

  test(`${name}: a read sees what was asked for before it, and nothing later`, async () => {
    await using given = await opened()
    const { storage } = given
    const [, first, , second] = await Promise.all([
      storage.write(INSERT, ['a', null]),
      idsIn(storage),
      storage.write('delete from line', []),
      idsIn(storage),
    ])
    assert.deepEqual(first, ['a'])
    assert.deepEqual(second, [])
  })

  test(`${name}: queries of Kysely return rows and counts`, async () => {
    await using given = await opened()
    const { db } = given.storage
    const inserted = await db
      .insertInto('line')
      .values([
        { id: 'a', text: null },
        { id: 'b', text: null },
      ])
      .returning('id')
      .execute()
    assert.deepEqual(inserted, [{ id: 'a' }, { id: 'b' }])
    const updated = await db.updateTable('line').set({ text: 'x' }).executeTakeFirst()
    assert.equal(updated.numUpdatedRows, 2n)
    const deleted = await db.deleteFrom('line').where('id', '=', 'a').executeTakeFirst()
    assert.equal(deleted.numDeletedRows, 1n)
    const found = await sql<{ n: number }>`select count(*) as n from line`.execute(db)
    assert.deepEqual(
      found.rows.map(({ n }) => Number(n)),
      [1],
    )
    await assert.rejects(
      db.insertInto('line').values({ id: 'b', text: null }).execute(),
      ofKind('constraint'),
    )
  })

  test(`${name}: what others ask for waits for the end of a transaction`, async () => {
    await using given = await opened()
    const { storage } = given
    const outside: Promise<unknown>[] = []
    const inside = await storage.db.transaction().execute(async (trx) => {
      outside.push(storage.write(INSERT, ['outside', null]), idsIn(storage))
      await trx.insertInto('line').values({ id: 'inside', text: null }).execute()
      await nextTurn()
      return trx.selectFrom('line').select('id').execute()
    })
    assert.deepEqual(inside, [{ id: 'inside' }])
    const [, seen] = await Promise.all(outside)
    assert.deepEqual(seen, ['inside', 'outside'])
  })

  test(`${name}: a transaction that throws leaves nothing, and the next one works`, async () => {
    await using given = await opened()
    const { storage } = given
    const failing = storage.db.transaction().execute(async (trx) => {
      await trx.insertInto('line').values({ id: 'a', text: null }).execute()
      throw new Error('second thoughts')
    })
    const next = storage.db.transaction().execute(async (trx) => {
      await trx.insertInto('line').values({ id: 'b', text: null }).execute()
    })
    await assert.rejects(failing, /second thoughts/)
    await next
    assert.deepEqual(await idsIn(storage), ['b'])
  })

  test(`${name}: savepoints of a transaction are kept or undone`, async () => {
    await using given = await opened()
    const { storage } = given
    const trx = await storage.db.startTransaction().execute()
    await trx.insertInto('line').values({ id: 'a', text: null }).execute()
    const atSavepoint = await trx.savepoint('later').execute()
    await atSavepoint.insertInto('line').values({ id: 'b', text: null }).execute()
    await atSavepoint.rollbackToSavepoint('later').execute()
    await trx.commit().execute()
    assert.deepEqual(await idsIn(storage), ['a'])
  })

  test(`${name}: a transaction that waits for what waits for it is rolled back`, async () => {
    await using given = await opened()
    const { storage } = given
    const stuck = storage.db.transaction().execute(async (trx) => {
      await trx.insertInto('line').values({ id: 'inside', text: null }).execute()
      await storage.write(INSERT, ['outside', null])
      await trx.insertInto('line').values({ id: 'too late', text: null }).execute()
    })
    await assert.rejects(stuck, { name: 'StorageError', message: /stood idle/ })
    assert.deepEqual(await idsIn(storage), ['outside'])
  })

  test(`${name}: close finishes what was asked for, and refuses the rest`, async () => {
    await using backend = await start()
    const storage = await backend.open()
    await storage.migrate([tables])
    const transaction = storage.db.transaction().execute(async (trx) => {
      await nextTurn()
      await trx.insertInto('line').values({ id: 'b', text: null }).execute()
    })
    const writes = [storage.write(INSERT, ['a', null]), transaction]
    await nextTurn()
    writes.push(storage.write(INSERT, ['c', null]))
    const closing = storage.close()
    await assert.rejects(storage.write(INSERT, ['d', null]), ofKind('closed'))
    await assert.rejects(storage.read(SELECT, []), ofKind('closed'))
    await assert.rejects(
      storage.db.transaction().execute(async () => {}),
      ofKind('closed'),
    )
    await closing
    await Promise.all(writes)
    await storage.close()
    await using again = await backend.open()
    assert.deepEqual(await idsIn(again), ['a', 'b', 'c'])
  })

  test(`${name}: migrations run once, in the order given`, async () => {
    await using backend = await start()
    const runs: string[] = []
    const step = (name: Migration['name']): Migration => ({
      name,
      async up(db) {
        runs.push(name)
        await sql`insert into line (id) values (${name})`.execute(db)
      },
    })
    {
      await using storage = await backend.open()
      await storage.migrate([tables, step('b/0001-x'), step('a/0001-x')])
      await storage.migrate([tables, step('b/0001-x'), step('a/0001-x')])
    }
    await using storage = await backend.open()
    await storage.migrate([tables, step('b/0001-x'), step('b/0002-y'), step('a/0001-x')])
    assert.deepEqual(runs, ['b/0001-x', 'a/0001-x', 'b/0002-y'])
    assert.deepEqual(await idsIn(storage), ['a/0001-x', 'b/0001-x', 'b/0002-y'])
  })

  test(`${name}: of two that start together, one migrates`, async () => {
    await using backend = await start()
    await using first = await backend.open()
    await using second = await backend.open()
    await Promise.all([first.migrate([tables]), second.migrate([tables])])
    await first.write(INSERT, ['a', null])
    assert.deepEqual(await idsIn(second), ['a'])
  })

  test(`${name}: a migration that fails leaves nothing and may be tried again`, async () => {
    await using given = await opened()
    const { storage } = given
    const failing: Migration = {
      name: 'half/0001-create',
      async up(db, types) {
        await db.schema.createTable('half').addColumn('id', types.text).execute()
        throw new Error('no electricity')
      },
    }
    await assert.rejects(storage.migrate([tables, failing]), /no electricity/)
    const mended: Migration = {
      ...failing,
      async up(db, types) {
        await db.schema.createTable('half').addColumn('id', types.text).execute()
      },
    }
    await storage.migrate([tables, mended])
    assert.deepEqual(await storage.read('select id from half', []), [])
  })

  test(`${name}: a database of a newer release is refused, foreign modules are not`, async () => {
    await using given = await opened()
    const { storage } = given
    const nothing = (name: Migration['name']): Migration => ({ name, async up() {} })
    await storage.migrate([tables, nothing('test/0002-newer'), nothing('gone/0001-module')])
    await assert.rejects(storage.migrate([tables, nothing('test/0001-z')]), {
      ...ofKind('incompatible'),
      message: /test\/0002-newer.*newer release/,
    })
    await storage.migrate([tables, nothing('test/0002-newer')])
    const disordered = [nothing('test/0003-b'), nothing('test/0003-a')]
    await assert.rejects(storage.migrate(disordered), /0003-a comes after test\/0003-b/)
  })

  test(`${name}: any interleaving ends as if all had come one after another`, async () => {
    await using given = await opened()
    const { storage } = given
    await fc.assert(
      fc.asyncProperty(fc.array(steps, { maxLength: 40 }), async (history) => {
        await storage.write('delete from line', [])
        await runHistory(storage, history)
      }),
      { numRuns: 200 },
    )
  })
}
