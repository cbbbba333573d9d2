import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseJid } from '../../xmpp/jid.ts'
import { AccessLists } from './access-lists.ts'
import type { ListName } from './store.ts'

type Rows = readonly { readonly list: ListName; readonly address: string }[]

const MALLORY = parseJid('mallory@example.net/home')

async function listsOf(rows: Rows): Promise<AccessLists> {
  const lists = new AccessLists({ all: async () => rows })
  await lists.load()
  return lists
}

test('what was read first does not take the place of what was read last', async () => {
  const reads: PromiseWithResolvers<Rows>[] = []
  const lists = new AccessLists({
    all: () => {
      const read = Promise.withResolvers<Rows>()
      reads.push(read)
      return read.promise
    },
  })
  const now: Rows = [{ list: 'blacklist', address: 'example.net' }]
  const [first, second] = [lists.load(), lists.load()]
  await new Promise(setImmediate)
  // Where both are asked at once, the storage may answer in any order.
  reads[1]?.resolve(now)
  reads[0]?.resolve([])
  await first
  await new Promise(setImmediate)
  reads[1]?.resolve(now)
  await second
  assert.equal(lists.allows(MALLORY, false), false)
})

test('the narrowest that names an address decides, on whichever list', async () => {
  const lists = await listsOf([
    { list: 'blacklist', address: 'example.net' },
    { list: 'whitelist', address: 'mallory@example.net' },
  ])
  assert.equal(lists.allows(MALLORY, false), true)
  assert.equal(lists.allows(parseJid('romeo@example.net'), false), false)
  assert.equal(lists.allows(parseJid('romeo@example.com'), false), false)
  assert.equal(lists.allows(parseJid('service.example.org'), true), true)
  assert.equal(lists.allowsServer('example.net'), true)
  assert.equal(lists.allowsServer('example.com'), false)
})

test('without any address everybody is allowed', async () => {
  const lists = await listsOf([])
  assert.equal(lists.isEmpty, true)
  assert.equal(lists.allows(MALLORY, false), true)
  assert.equal(lists.allowsServer('example.net'), true)
})
