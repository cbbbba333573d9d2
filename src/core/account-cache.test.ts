import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type BareJid, parseBare } from '../xmpp/jid.ts'
import { StanzaError } from '../xmpp/stanza-error.ts'
import { AccountCache } from './account-cache.ts'

type Value = { readonly text: string }

const romeo = parseBare('romeo@im.example.com')
const account = (number: number) => parseBare(`account-${number}@im.example.com`)

/** A cache of texts over a disk that the test reads and writes. */
function start(maxWeight = 100) {
  const disk = new Map<string, Value>()
  const loads: string[] = []
  const load = async ({ full }: BareJid) => {
    loads.push(full)
    const value = disk.get(full) ?? { text: '' }
    await Promise.resolve()
    return value
  }
  const cache = new AccountCache<Value>({ load, weigh: () => 1, maxWeight })
  const add = (letter: string, owner = romeo) =>
    cache.change(owner, {
      make: ({ text }) => ({ text: text + letter }),
      save: async (after) => void disk.set(owner.full, after),
    })
  return { cache, disk, loads, add }
}

test('loaded once, by all who ask meanwhile; then at hand without a promise', async () => {
  const { cache, loads } = start()
  const asked = [cache.get(romeo), cache.get(romeo)]
  assert.ok(asked[0] instanceof Promise)
  assert.deepEqual(await Promise.all(asked), [{ text: '' }, { text: '' }])
  assert.ok(!(cache.get(romeo) instanceof Promise))
  assert.deepEqual(loads, [romeo.full])
})

test('changes made at once do not undo each other', async () => {
  const { cache, disk, add } = start()
  await Promise.all(['a', 'b', 'c'].map((letter) => add(letter)))
  assert.deepEqual(cache.get(romeo), { text: 'abc' })
  assert.deepEqual(disk.get(romeo.full), { text: 'abc' })
})

test('readers see a change when it is durable, in the step that tells of it', async () => {
  const { cache } = start()
  await cache.get(romeo)
  const saved = Promise.withResolvers<void>()
  const seen: unknown[] = []
  const changed = cache.change(romeo, {
    make: () => ({ text: 'new' }),
    save: () => saved.promise,
    committed: (after, before) => seen.push(before.text, after.text, cache.get(romeo)),
  })
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(cache.get(romeo), { text: '' })
  saved.resolve()
  await changed
  assert.deepEqual(seen, ['', 'new', { text: 'new' }])
})

test('what was being loaded when it changed, or was removed, is not remembered', async () => {
  let text = 'old'
  const answers: PromiseWithResolvers<Value>[] = []
  const load = ({ full }: BareJid) => {
    const answer = Promise.withResolvers<Value>()
    if (full === romeo.full) answers.push(answer)
    else answer.resolve({ text: 'other' })
    return answer.promise
  }
  const cache = new AccountCache<Value>({ load, weigh: () => 1, maxWeight: 1 })
  const answerLast = () => answers.at(-1)?.resolve({ text })
  const readSlowly = async () => {
    // Romeo is pushed out of memory, and read anew.
    await cache.get(account(1))
    await cache.get(account(2))
    const loading = cache.get(romeo)
    assert.ok(loading instanceof Promise)
    return { loading }
  }

  let underway: { loading: Promise<Value> } | undefined
  const changed = cache.change(romeo, {
    make: () => ({ text: 'new' }),
    save: async () => {
      underway = await readSlowly()
    },
  })
  await new Promise((resolve) => setImmediate(resolve))
  answerLast()
  await changed
  answerLast()
  assert.deepEqual(await underway?.loading, { text: 'old' })
  assert.deepEqual(cache.get(romeo), { text: 'new' })

  text = 'new'
  await cache.remove(romeo, async () => {
    underway = await readSlowly()
  })
  answerLast()
  assert.deepEqual(await underway?.loading, { text: 'new' })
  text = ''
  const fresh = cache.get(romeo)
  assert.ok(fresh instanceof Promise)
  answerLast()
  assert.deepEqual(await fresh, { text: '' })
})

test('a change that cannot be saved has not been made, unless the disk says so', async () => {
  const { cache, disk, loads } = start()
  const failing = cache.change(romeo, {
    make: () => ({ text: 'new' }),
    save: async (after) => {
      disk.set(romeo.full, after)
      throw new Error('after the fact')
    },
  })
  await assert.rejects(failing, /after the fact/)
  assert.deepEqual(await cache.get(romeo), { text: 'new' })
  assert.equal(loads.length, 2)
})

test('a refusal changes nothing, and too many changes at once are refused', async () => {
  const { cache, disk, add } = start()
  const refuse = () => {
    throw new StanzaError('conflict')
  }
  await assert.rejects(cache.change(romeo, { make: refuse, save: async () => {} }), /conflict/)
  assert.equal(disk.size, 0)
  const many = await Promise.allSettled(Array.from({ length: 120 }, () => add('x')))
  assert.equal(many.filter(({ status }) => status === 'rejected').length, 20)
  assert.deepEqual(cache.get(romeo), { text: 'x'.repeat(100) })
})

test('a load that failed is tried again', async () => {
  let attempts = 0
  const cache = new AccountCache<Value>({
    load: async () => {
      if (attempts++ === 0) throw new Error('disk')
      return { text: 'there' }
    },
    weigh: () => 1,
    maxWeight: 9,
  })
  await assert.rejects(async () => cache.get(romeo), /disk/)
  assert.deepEqual(await cache.get(romeo), { text: 'there' })
})

test('of many accounts those asked for last stay in memory', async () => {
  const { cache, loads } = start(20)
  for (let i = 0; i < 100; i++) {
    await cache.get(account(i))
    await cache.get(romeo)
  }
  assert.equal(loads.filter((owner) => owner === romeo.full).length, 1)
  const inMemory = Array.from({ length: 100 }, (_, i) => cache.get(account(i)))
  const count = inMemory.filter((value) => !(value instanceof Promise)).length
  assert.ok(count >= 9 && count <= 22, `${count} are in memory`)
  await Promise.all(inMemory)
})
