import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Account, AccountStore } from '../../src/core/accounts.ts'
import type { Credentials, ScramKeys } from '../../src/core/credentials.ts'
import { accountMigrations, sqlAccountStore } from '../../src/storage/account-store.ts'
import { memoryAccountStore } from '../../src/storage/memory-account-store.ts'
import { parseBare } from '../../src/xmpp/jid.ts'
import { backends as storageBackends } from '../support/storage-backends.ts'

type Opened = { readonly store: AccountStore } & AsyncDisposable

const backends: Record<string, () => Promise<Opened>> = {
  memory: async () => ({ store: memoryAccountStore(), async [Symbol.asyncDispose]() {} }),
}
for (const [name, start] of Object.entries(storageBackends)) {
  backends[name] = async () => {
    const backend = await start()
    const storage = await backend.open()
    await storage.migrate(accountMigrations)
    return {
      store: sqlAccountStore(storage),
      async [Symbol.asyncDispose]() {
        await storage.close()
        await backend[Symbol.asyncDispose]()
      },
    }
  }
}

const juliet = parseBare('juliet@capulet.example')
const romeo = parseBare('romeo@montague.example')

const keys = (fill: number, length: number): ScramKeys => ({
  salt: new Uint8Array(16).fill(fill),
  iterations: 4096 + fill,
  storedKey: new Uint8Array(length).fill(fill + 1),
  serverKey: new Uint8Array(length).fill(fill + 2),
})
const both: Credentials = { 'SHA-1': keys(1, 20), 'SHA-256': keys(4, 32) }

const account = (jid = juliet, credentials = both): Account => ({
  jid,
  credentials,
  createdAt: 1_790_000_000_000,
  isDisabled: false,
})

for (const [name, open] of Object.entries(backends)) {
  test(`${name}: an account is found as it was created`, async () => {
    await using given = await open()
    const { store } = given
    assert.equal(await store.create(account()), true)
    assert.deepEqual(await store.find(juliet), account())
    assert.equal(await store.exists(juliet), true)
  })

  test(`${name}: an account that was not created is not found`, async () => {
    await using given = await open()
    const { store } = given
    await store.create(account())
    for (const text of ['romeo@capulet.example', 'juliet@montague.example']) {
      assert.equal(await store.find(parseBare(text)), undefined)
      assert.equal(await store.exists(parseBare(text)), false)
      assert.equal(await store.setCredentials(parseBare(text), both), false)
      assert.equal(await store.setCredentials(parseBare(text), {}), false)
      assert.equal(await store.setDisabled(parseBare(text), true), false)
      assert.equal(await store.remove(parseBare(text)), false)
    }
    assert.deepEqual(await store.find(juliet), account())
  })

  test(`${name}: of two that create one account, one does`, async () => {
    await using given = await open()
    const { store } = given
    const other = account(juliet, { 'SHA-256': keys(9, 32) })
    const created = await Promise.all([store.create(account()), store.create(other)])
    assert.deepEqual(created, [true, false])
    assert.deepEqual(await store.find(juliet), account())
  })

  test(`${name}: keys are replaced all together`, async () => {
    await using given = await open()
    const { store } = given
    await store.create(account())
    const replacement: Credentials = { 'SHA-256': keys(7, 32) }
    assert.equal(await store.setCredentials(juliet, replacement), true)
    assert.deepEqual((await store.find(juliet))?.credentials, replacement)
    assert.equal(await store.setCredentials(juliet, {}), true)
    assert.deepEqual(await store.find(juliet), account(juliet, {}))
  })

  test(`${name}: a disabled account exists`, async () => {
    await using given = await open()
    const { store } = given
    await store.create(account())
    assert.equal(await store.setDisabled(juliet, true), true)
    assert.deepEqual(await store.find(juliet), { ...account(), isDisabled: true })
    assert.equal(await store.exists(juliet), true)
    assert.equal(await store.setDisabled(juliet, false), true)
    assert.deepEqual(await store.find(juliet), account())
  })

  test(`${name}: a removed account leaves nothing to the next of its name`, async () => {
    await using given = await open()
    const { store } = given
    await store.create(account())
    await store.create(account(romeo))
    assert.equal(await store.remove(juliet), true)
    assert.equal(await store.exists(juliet), false)
    await store.create(account(juliet, {}))
    assert.deepEqual((await store.find(juliet))?.credentials, {})
    assert.deepEqual(await store.find(romeo), account(romeo))
  })

  test(`${name}: what is removed is remembered until its data is, too`, async () => {
    await using given = await open()
    const { store } = given
    await store.create(account())
    assert.equal(await store.remove(romeo), false)
    assert.equal(await store.remove(juliet), true)
    assert.equal(await store.remove(juliet), false)
    assert.deepEqual((await store.removals()).map(String), [juliet.full])
    assert.equal(await store.isBeingRemoved(juliet), true)
    assert.equal(await store.isBeingRemoved(romeo), false)
    await store.finishRemoval(juliet)
    assert.deepEqual(await store.removals(), [])
    assert.equal(await store.isBeingRemoved(juliet), false)
  })

  test(`${name}: accounts are listed by domain, in pages`, async () => {
    await using given = await open()
    const { store } = given
    const inOrder = ['a', 'b', 'é', 'ꙁ', '𐐨']
    for (const local of inOrder.toReversed()) {
      await store.create(account(parseBare(`${local}@capulet.example`)))
    }
    await store.create(account(romeo))

    const locals: string[][] = []
    let after: string | undefined
    do {
      const page = await store.list('capulet.example', after ? { after, limit: 2 } : { limit: 2 })
      locals.push(page.map(({ local }) => local))
      after = page.at(-1)?.local
    } while (after)
    assert.deepEqual(locals, [['a', 'b'], ['é', 'ꙁ'], ['𐐨'], []])
    assert.equal(await store.count('capulet.example'), 5)
    assert.equal(await store.count('montague.example'), 1)
    assert.equal(await store.count('verona.example'), 0)
  })

  test(`${name}: the secret is made once`, async () => {
    await using given = await open()
    const { store } = given
    const [first, second] = await Promise.all([store.secret(), store.secret()])
    assert.equal(first.length, 32)
    assert.deepEqual(first, second)
    assert.deepEqual(await store.secret(), first)
  })
}
