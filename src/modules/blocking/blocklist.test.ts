import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseJid } from '../../xmpp/jid.ts'
import { Blocklist, NOBODY } from './blocklist.ts'

const ADDRESSES = [
  'a.example',
  'a.example/r',
  'u@a.example',
  'u@a.example/r',
  'u@a.example/s',
  'b.example',
]
const address = fc.constantFrom(...ADDRESSES).map((text) => parseJid(text))

test('an address is blocked by itself, its account, its domain, or that resource of its domain', () => {
  fc.assert(
    fc.property(fc.uniqueArray(address), address, (blocked, peer) => {
      const expected = blocked.some(
        ({ local, domain, resource }) =>
          domain === peer.domain &&
          (local === '' || local === peer.local) &&
          (resource === '' || resource === peer.resource),
      )
      assert.equal(new Blocklist(blocked).covers(peer), expected)
    }),
  )
})

test('what changes nothing leaves the list as it is; an empty one is that of nobody', () => {
  const [one, two] = [parseJid('u@a.example'), parseJid('b.example')]
  const list = new Blocklist([one])
  assert.equal(list.with([one]), list)
  assert.equal(list.without([two]), list)
  assert.equal(list.without([one]), NOBODY)
  assert.equal(list.without(undefined), NOBODY)
  assert.deepEqual(list.with([two, one]).jids, [one, two])
})
