import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseBare, parseJid } from '../xmpp/jid.ts'
import { type Account, type AccountStore, Accounts, type AccountsOptions } from './accounts.ts'
import { VerifiedPasswords } from './credentials.ts'

const juliet = parseBare('juliet@capulet.example')
const romeo = parseBare('romeo@montague.example')

/** A store that tells who it is asked about: whether they exist, and for the whole account. */
function given(options: AccountsOptions = {}) {
  const kept = new Map<string, Account>()
  const change = (account: Account | undefined, changes: Partial<Account>) => {
    if (account) kept.set(account.jid.full, { ...account, ...changes })
    return account !== undefined
  }
  const asked: string[] = []
  const found: string[] = []
  const store: AccountStore = {
    async create(account) {
      return !kept.has(account.jid.full) && kept.set(account.jid.full, account) === kept
    },
    async find(jid) {
      found.push(jid.full)
      return kept.get(jid.full)
    },
    async exists(jid) {
      asked.push(jid.full)
      return kept.has(jid.full)
    },
    setCredentials: async (jid, credentials) => change(kept.get(jid.full), { credentials }),
    setDisabled: async (jid, isDisabled) => change(kept.get(jid.full), { isDisabled }),
    remove: async (jid) => kept.delete(jid.full),
    isBeingRemoved: async () => false,
    removals: async () => [],
    finishRemoval: async () => {},
    list: async () => [...kept.values()].map(({ jid }) => jid),
    count: async () => kept.size,
    secret: async () => Buffer.alloc(32, 7),
  }
  const accounts = new Accounts(store, { iterations: 4096, ...options })
  return { store, asked, found, kept, accounts }
}

test('a password is verified, and only that one', async () => {
  const { accounts } = given()
  assert.equal(await accounts.create(juliet, 'pencil'), true)
  assert.equal(await accounts.verifyPassword(juliet, 'pencil'), true)
  assert.equal(await accounts.verifyPassword(juliet, 'Pencil'), false)
  assert.equal(await accounts.verifyPassword(juliet, ''), false)
  assert.equal(await accounts.verifyPassword(romeo, 'pencil'), false)
})

test('creating an account again changes nothing', async () => {
  const { accounts } = given()
  await accounts.create(juliet, 'pencil')
  assert.equal(await accounts.create(juliet, 'other'), false)
  assert.equal(await accounts.verifyPassword(juliet, 'pencil'), true)
})

test('the password is nowhere in what is kept', async () => {
  const { accounts, kept } = given()
  await accounts.create(juliet, 'a rather long password')
  const text = JSON.stringify([...kept.values()])
  assert.doesNotMatch(text, /rather/)
  const hex = Buffer.from('rather').toString('hex')
  const bytes = Object.values(kept.get(juliet.full)?.credentials ?? {}).flatMap((keys) => [
    keys.salt,
    keys.storedKey,
    keys.serverKey,
  ])
  assert.equal(bytes.length, 6)
  for (const each of bytes) assert.doesNotMatch(Buffer.from(each).toString('hex'), new RegExp(hex))
})

test('a new password takes the place of the old one, remembered or not', async () => {
  const verified = new VerifiedPasswords()
  const { accounts } = given({ verified })
  await accounts.create(juliet, 'pencil')
  assert.equal(await accounts.verifyPassword(juliet, 'pencil'), true)
  assert.equal(verified.size, 1)
  assert.equal(await accounts.setPassword(juliet, 'paper'), true)
  assert.equal(await accounts.verifyPassword(juliet, 'pencil'), false)
  assert.equal(await accounts.verifyPassword(juliet, 'paper'), true)
  assert.equal(await accounts.setPassword(romeo, 'paper'), false)
})

test('an account with keys of one hash is verified by them', async () => {
  const { accounts } = given()
  await accounts.create(juliet, 'pencil')
  const { 'SHA-1': sha1 } = (await accounts.find(juliet))?.credentials ?? {}
  assert.ok(sha1)
  await accounts.setKeys(juliet, { 'SHA-1': sha1 })
  assert.equal(await accounts.verifyPassword(juliet, 'pencil'), true)
  assert.equal(await accounts.verifyPassword(juliet, 'paper'), false)
  assert.deepEqual(await accounts.keys(juliet, 'SHA-1'), sha1)
  const missing = await accounts.keys(juliet, 'SHA-256')
  assert.deepEqual(missing, await accounts.fakeKeys(juliet, 'SHA-256'))
})

test('a stranger gets keys for an account that does not exist, the same each time', async () => {
  const { accounts } = given()
  const keys = await accounts.keys(romeo, 'SHA-256')
  assert.equal(keys.iterations, 4096)
  assert.deepEqual(await accounts.keys(romeo, 'SHA-256'), keys)
  await accounts.create(romeo, 'pencil')
  assert.notDeepEqual(await accounts.keys(romeo, 'SHA-256'), keys)
})

test('a login asks the store once, and the next one soon after not at all', async () => {
  let now = 0
  const { accounts, found } = given({ rememberForMs: 100, now: () => now })
  await accounts.create(juliet, 'pencil')
  const keys = await accounts.keys(juliet, 'SHA-256')
  assert.equal(await accounts.verifyPassword(juliet, 'pencil'), true)
  assert.equal(accounts.mayLogIn(juliet), true)
  assert.equal(accounts.verifyPassword(juliet, 'pencil'), true)
  assert.deepEqual(accounts.keys(juliet, 'SHA-256'), keys)
  assert.deepEqual(found, [juliet.full])
  now = 100
  assert.equal(await accounts.verifyPassword(juliet, 'pencil'), true)
  assert.deepEqual(found, [juliet.full, juliet.full])
})

test('whoever does not exist, or is disabled, may not log in', async () => {
  const { accounts } = given()
  await accounts.create(juliet, 'pencil')
  assert.equal(await accounts.mayLogIn(juliet), true)
  await accounts.setDisabled(juliet, true)
  assert.equal(await accounts.mayLogIn(juliet), false)
  await accounts.setDisabled(juliet, false)
  assert.equal(await accounts.mayLogIn(juliet), true)
  assert.equal(await accounts.mayLogIn(romeo), false)
})

const CHANGES: Readonly<Record<string, (accounts: Accounts) => unknown>> = {
  'a new password': (accounts) => accounts.setPassword(juliet, 'paper'),
  'other keys': (accounts) => accounts.setKeys(juliet, {}),
  'being disabled': (accounts) => accounts.setDisabled(juliet, true),
  'being removed': (accounts) => accounts.remove(juliet),
  'a change elsewhere': (accounts) => accounts.forget(juliet),
  'the removal of its domain': (accounts) => accounts.forgetDomain(juliet.domain),
}

for (const [what, change] of Object.entries(CHANGES)) {
  test(`what is remembered of an account is gone with ${what}`, async () => {
    const { accounts, found } = given()
    await accounts.create(juliet, 'pencil')
    await accounts.mayLogIn(juliet)
    const { length } = found
    await change(accounts)
    await accounts.mayLogIn(juliet)
    assert.equal(found.length, length + 1)
  })
}

test('keys overtaken by a new password are not remembered', async () => {
  const { accounts, store, kept } = given()
  await accounts.create(juliet, 'pencil')
  const { find } = store
  const { promise, resolve } = Promise.withResolvers<Account | undefined>()
  store.find = () => promise
  const before = kept.get(juliet.full)
  const overtaken = accounts.keys(juliet, 'SHA-256')
  store.find = find
  await accounts.setPassword(juliet, 'paper')
  resolve(before)
  assert.deepEqual(await overtaken, before?.credentials['SHA-256'])
  const after = kept.get(juliet.full)
  assert.deepEqual(await accounts.keys(juliet, 'SHA-256'), after?.credentials['SHA-256'])
})

test('a change has happened when other nodes know, even one that the store has failed to make', async () => {
  const told: string[] = []
  const { accounts, store } = given({ onChanged: async (jid) => void told.push(jid.full) })
  await accounts.create(juliet, 'pencil')
  await accounts.setPassword(juliet, 'paper')
  await accounts.setDisabled(juliet, true)
  await accounts.remove(juliet)
  assert.equal(told.length, 4)
  store.setDisabled = async () => {
    throw new Error('no disk')
  }
  await assert.rejects(accounts.setDisabled(juliet, true), /no disk/)
  assert.equal(told.length, 5)
})

test('existence is asked for once, and answered at once from then on', async () => {
  const { accounts, asked } = given()
  await accounts.create(juliet, 'pencil')
  const answers = [accounts.exists(juliet), accounts.exists(juliet), accounts.exists(romeo)]
  assert.deepEqual(await Promise.all(answers), [true, true, false])
  assert.deepEqual(asked, [juliet.full, romeo.full])
  assert.equal(accounts.exists(juliet), true)
  assert.equal(accounts.exists(romeo), false)
})

test('existence is asked for anew after creating, removing and a while', async () => {
  let now = 0
  const { accounts, asked } = given({ rememberForMs: 100, now: () => now })
  assert.equal(await accounts.exists(juliet), false)
  await accounts.create(juliet, 'pencil')
  assert.equal(await accounts.exists(juliet), true)
  await accounts.remove(juliet)
  assert.equal(await accounts.exists(juliet), false)
  now = 99
  assert.equal(accounts.exists(juliet), false)
  now = 100
  assert.equal(await accounts.exists(juliet), false)
  assert.equal(asked.length, 4)
})

test('an answer overtaken by a removal is not remembered', async () => {
  const { accounts, store } = given()
  await accounts.create(juliet, 'pencil')
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const exists = store.exists
  store.exists = () => promise
  const overtaken = accounts.exists(juliet)
  store.exists = exists
  await accounts.remove(juliet)
  resolve(true)
  assert.equal(await overtaken, true)
  assert.equal(await accounts.exists(juliet), false)
})

test('a failure of the store is not remembered', async () => {
  const { accounts, store } = given()
  const { exists } = store
  store.exists = async () => {
    throw new Error('no disk')
  }
  const failing = [accounts.exists(juliet), accounts.exists(juliet)]
  for (const asked of failing) await assert.rejects(Promise.resolve(asked), /no disk/)
  store.exists = exists
  assert.equal(await accounts.exists(juliet), false)
})

test('what is remembered is bounded', async () => {
  const { accounts, asked } = given({ maxRemembered: 2 })
  for (const local of ['a', 'b', 'c', 'b', 'c', 'a']) {
    await accounts.exists(parseBare(`${local}@capulet.example`))
  }
  assert.deepEqual(
    asked.map((full) => full[0]),
    ['a', 'b', 'c', 'a'],
  )
})

test('a domain has no account', async () => {
  const { accounts } = given()
  const domain = parseBare('capulet.example')
  assert.equal(accounts.exists(domain), false)
  await assert.rejects(accounts.create(domain, 'pencil'), TypeError)
  const full = parseJid('juliet@capulet.example/balcony')
  await assert.rejects(accounts.create(full as typeof juliet, 'pencil'), TypeError)
})
