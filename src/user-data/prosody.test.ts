import assert from 'node:assert/strict'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { emptyDirectory } from '../../test/support/directory.ts'
import type { UserDataEvent } from './events.ts'
import { readProsodyData } from './prosody.ts'

const HEX = 'ab'.repeat(20)

async function eventsOf(directory: string): Promise<UserDataEvent[]> {
  const events: UserDataEvent[] = []
  const source = readProsodyData(directory, { onBytes() {}, onFile() {} })
  for await (const event of source) events.push(event)
  return events
}

test('a salt is octets, whatever they mean as text', async () => {
  await using directory = await emptyDirectory()
  const accounts = join(directory.path, 'verona%2eexample', 'accounts')
  await mkdir(accounts, { recursive: true })
  const salts = { 'no-text': '\\255\\000\\xe9', text: '\\195\\169', ascii: '9f3a-11' }
  for (const [name, salt] of Object.entries(salts)) {
    const keys = `["stored_key"] = "${HEX}"; ["server_key"] = "${HEX}"; ["iteration_count"] = 4096;`
    await writeFile(join(accounts, `${name}.dat`), `return { ${keys} ["salt"] = "${salt}"; };\n`)
  }
  const events = await eventsOf(directory.path)
  const found = events.flatMap((event) =>
    event.kind === 'portion' ? [event.portion.part.child('salt')?.text] : [],
  )
  const base64 = (...octets: number[]) => Buffer.from(octets).toString('base64')
  const ascii = Buffer.from('9f3a-11').toString('base64')
  assert.deepEqual(found, [ascii, base64(255, 0, 0xe9), base64(195, 169)])
})

test('a password is text', async () => {
  await using directory = await emptyDirectory()
  const accounts = join(directory.path, 'verona.example', 'accounts')
  await mkdir(accounts, { recursive: true })
  await writeFile(join(accounts, 'juliet.dat'), 'return { ["password"] = "caf\\195\\169"; };\n')
  const [user] = await eventsOf(directory.path)
  assert.ok(user?.kind === 'user')
  assert.equal(user.password, 'café')
})

test('what is there and cannot be had is not left out without a word', async () => {
  await using directory = await emptyDirectory()
  const host = join(directory.path, 'verona.example')
  for (const store of ['accounts', 'offline']) await mkdir(join(host, store), { recursive: true })
  await writeFile(join(host, 'accounts', 'juliet.dat'), 'return { ["password"] = "x"; };\n')
  await symlink('juliet.list', join(host, 'offline', 'juliet.list'))
  await assert.rejects(eventsOf(directory.path), { code: 'ELOOP' })
})
