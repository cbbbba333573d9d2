import assert from 'node:assert/strict'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { emptyDirectory } from '../../test/support/directory.ts'
import type { Octets } from '../xmpp/octets.ts'
import { FileExistsError, writeNewFile } from './new-file.ts'

async function* pieces(text: string, before: Promise<void> = Promise.resolve()) {
  await before
  for (const piece of text) yield piece as Octets
}

test('it is there once it is complete, for its owner alone, and nothing beside it', async () => {
  await using directory = await emptyDirectory()
  const file = join(directory.path, 'below', 'all.xml')
  await writeNewFile(file, pieces('<all/>'))
  assert.equal(await readFile(file, 'latin1'), '<all/>')
  assert.equal((await stat(file)).mode & 0o777, 0o600)
  await assert.rejects(writeNewFile(file, pieces('<other/>')), FileExistsError)
  assert.equal(await readFile(file, 'latin1'), '<all/>')
  assert.deepEqual(await readdir(join(directory.path, 'below')), ['all.xml'])
})

test('of two that are written at the same time one is there, whole', async () => {
  await using directory = await emptyDirectory()
  const file = join(directory.path, 'all.xml')
  const { promise: isOther, resolve: other } = Promise.withResolvers<void>()
  const slow = assert.rejects(writeNewFile(file, pieces('<slow/>', isOther)), FileExistsError)
  await writeNewFile(file, pieces('<quick/>'))
  other()
  await slow
  assert.equal(await readFile(file, 'latin1'), '<quick/>')
  assert.deepEqual(await readdir(directory.path), ['all.xml'])
})

test('of one that nobody waits for any more there is none', async () => {
  await using directory = await emptyDirectory()
  const gone = new AbortController()
  async function* long() {
    for (let n = 0; n < 1_000; n++) {
      yield 'x' as Octets
      gone.abort()
    }
  }
  const written = writeNewFile(join(directory.path, 'all.xml'), long(), gone.signal)
  await assert.rejects(written, { name: 'AbortError' })
  assert.deepEqual(await readdir(directory.path), [])
})

async function* broken() {
  yield '<all' as Octets
  throw new Error('there is no more')
}

test('of one that could not be written to its end there is none', async () => {
  await using directory = await emptyDirectory()
  const file = join(directory.path, 'all.xml')
  await assert.rejects(writeNewFile(file, broken()), /there is no more/)
  assert.deepEqual(await readdir(directory.path), [])
})
