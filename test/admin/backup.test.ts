import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { openStorage } from '../../src/storage/open.ts'
import { countRows } from '../../src/storage/tables.ts'
import { tokenFor } from '../support/api.ts'
import { giveAsOperator as give } from '../support/operator.ts'
import { startServer, type TestServer } from '../support/server.ts'

const STORAGE = { url: 'sqlite:meerkat.db' }
const MESSAGES = 20_000

/** Enough that a backup takes more than one page. */
async function fill({ server }: TestServer): Promise<void> {
  const sql = `insert into offline_message (account, stored_at, stanza, notes, size)
    values ('romeo@im.example.com', 1, ?, '', 1)`
  await server.storage.writeAll(
    Array.from({ length: MESSAGES }, () => ({ sql, parameters: ['x'.repeat(500)] })),
  )
}

test('over HTTP it is told how far a backup is', async () => {
  await using server = await startServer({ storage: STORAGE, http: {} })
  await fill(server)
  const answer = await fetch(`${server.urlOf()}/api/backup`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${await tokenFor(server, 'admin')}`,
      'content-type': 'application/json',
      accept: 'text/event-stream',
    },
    body: JSON.stringify({ target: 'all.db' }),
  })
  const events = (await answer.text())
    .trim()
    .split('\n\n')
    .map((event) => {
      const [, name, data] = /^event: (\w+)\ndata: (.*)$/.exec(event) ?? []
      return { name, data: JSON.parse(data ?? '') }
    })
  const result = events.at(-1)
  assert.equal(result?.name, 'result')
  const progress = events.filter(({ name }) => name === 'progress')
  assert.ok(progress.length > 0)
  assert.ok(progress.every(({ data }) => data.of.startsWith('rows') && data.done <= data.total))
  const file = join(server.directory, 'transfer', 'all.db')
  assert.equal(result?.data.file, file)
  await using saved = await openStorage(`sqlite:${file}`, { mustExist: true })
  assert.equal(await countRows(saved, 'offline_message'), MESSAGES)
})

test('one at a time, and none is left of one that nobody waits for any more', async () => {
  await using server = await startServer({ storage: STORAGE, http: {} })
  await fill(server)
  const token = await tokenFor(server, 'admin')
  const gone = new AbortController()
  const ask = (target: string, signal?: AbortSignal) =>
    fetch(`${server.urlOf()}/api/backup`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${token}`,
        'content-type': 'application/json',
        accept: 'text/event-stream',
      },
      body: JSON.stringify({ target }),
      ...(signal && { signal }),
    })

  const answer = await ask('first.db', gone.signal)
  const reader = answer.body?.getReader()
  await reader?.read()
  await assert.rejects(give(server, 'backup', { target: 'second.db' }), { code: 'conflict' })
  gone.abort()
  await assert.rejects(async () => {
    while ((await reader?.read())?.done === false);
  })

  // It is over once another one may begin.
  const isBusy = async () => {
    try {
      await give(server, 'backup', { target: 'third.db' })
      return false
    } catch (error) {
      assert.equal((error as { readonly code?: string }).code, 'conflict')
      return true
    }
  }
  while (await isBusy()) await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(await readdir(join(server.directory, 'transfer')), ['third.db'])
})

test('what is kept in memory alone cannot be backed up', async () => {
  await using server = await startServer({ storage: { url: 'sqlite::memory:' } })
  await assert.rejects(give(server, 'backup', { target: 'all.db' }), { code: 'unavailable' })
})
