import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CurrentAnnouncements } from './current.ts'
import type { Announcement } from './store.ts'

const DOMAIN = 'im.example.com'

function announcement(body: string): Announcement {
  return { domain: DOMAIN, kind: 'motd', id: body, body, set_at: 0 }
}

test('what was read first does not take the place of what was read last', async () => {
  const reads: PromiseWithResolvers<Announcement[]>[] = []
  const current = new CurrentAnnouncements({
    all: () => {
      const read = Promise.withResolvers<Announcement[]>()
      reads.push(read)
      return read.promise
    },
  })
  const [first, second] = [current.load(), current.load()]
  await new Promise(setImmediate)
  // Where both are asked at once, the storage may answer in any order.
  reads[1]?.resolve([announcement('new')])
  reads[0]?.resolve([announcement('old')])
  await first
  await new Promise(setImmediate)
  reads[1]?.resolve([announcement('new')])
  await second
  assert.equal(current.of(DOMAIN, 'motd')?.body, 'new')
  assert.equal(current.of(DOMAIN, 'welcome'), undefined)
})

test('what a domain that is removed announced is forgotten', async () => {
  const current = new CurrentAnnouncements({ all: async () => [announcement('Hello')] })
  await current.load()
  assert.equal(current.isEmpty, false)
  current.forgetDomain(DOMAIN)
  assert.equal(current.of(DOMAIN, 'motd'), undefined)
  assert.equal(current.isEmpty, true)
})
