import assert from 'node:assert/strict'
import { access, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openStorage } from './open.ts'

test('a sqlite URL names a file or memory', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'meerkat-open-'))
  try {
    const file = join(directory, 'some where', 'meerkat.db')
    for (const url of [`sqlite:${file}`, 'sqlite::memory:']) {
      await using storage = await openStorage(url)
      assert.deepEqual(await storage.read('select 1 as one', []), [{ one: 1 }])
    }
    await access(file)
  } finally {
    await rm(directory, { recursive: true })
  }
})

test('any other URL is refused', async () => {
  for (const url of ['', 'sqlite', 'sqlite:', 'mysql://localhost/x', '/var/lib/meerkat.db']) {
    await assert.rejects(openStorage(url), /A storage URL reads sqlite:/, url)
  }
})
