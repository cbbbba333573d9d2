import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import type { Storage } from '../core/storage.ts'
import { openSqlite } from '../storage/sqlite.ts'
import { parseBare } from '../xmpp/jid.ts'
import { Administrators, administratorMigrations } from './administrators.ts'

const [romeo, juliet] = [parseBare('romeo@localhost'), parseBare('juliet@localhost')]

type Stored = Pick<Storage, 'read' | 'write'>

async function opened() {
  const storage = await openSqlite(':memory:', { synchronous: 'off' })
  await storage.migrate([...administratorMigrations])
  return storage
}

/** Of a node that hears nothing of others unless it is told. */
function node(storage: Stored): Administrators {
  return new Administrators({ storage, fixed: () => [], onChanged() {} })
}

test('who was added on another node a moment ago is removed', async () => {
  await using storage = await opened()
  const [one, two] = [node(storage), node(storage)]
  await one.add(romeo)
  assert.ok(!two.has(romeo))
  assert.ok(await two.remove(romeo))
  await one.load()
  assert.ok(!one.has(romeo))
  assert.ok(!(await one.remove(romeo)))
})

test('a slow answer does not take the place of a newer one', async () => {
  await using storage = await opened()
  const answers: (() => void)[] = []
  const slow: Stored = {
    write: (...given) => storage.write(...given),
    async read<Row>(...given: Parameters<Storage['read']>) {
      const rows = await storage.read<Row>(...given)
      await new Promise<void>((resolve) => answers.push(resolve))
      return rows
    },
  }
  const administrators = node(slow)
  const adding = [administrators.add(romeo)]
  while (answers.length < 1) await setImmediate()
  adding.push(administrators.add(juliet))
  while ((await storage.read('select account from administrator', [])).length < 2) {
    await setImmediate()
  }
  // The newest first, as far as there are several.
  for (let answered = 0; answered < 2; ) {
    for (let i = 0; i < 50; i++) await setImmediate()
    const answer = answers.pop()
    if (answer === undefined) continue
    answered++
    answer()
  }
  await Promise.all(adding)
  assert.ok(administrators.has(romeo) && administrators.has(juliet))
})
