import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type BareJid, parseBare } from '../../xmpp/jid.ts'
import { memoryRosterStore } from './memory-store.ts'
import type { RosterItem } from './roster.ts'
import { Rosters } from './rosters.ts'
import type { RosterStore } from './store.ts'

const owners = ['romeo', 'juliet', 'tybalt'].map((name) => parseBare(`${name}@im.example.com`))
const contacts = ['a', 'b', 'c', 'd'].map((name) => parseBare(`${name}@elsewhere.example`))
const romeo = owners[0] as BareJid
const nurse = contacts[0] as BareJid

/** Finishes loads and saves when told, in any order; some saves fail. */
class SlowStore implements RosterStore {
  readonly #store = memoryRosterStore()
  readonly waiting: (() => void)[] = []
  isFailing = false

  async load(owner: BareJid) {
    // What was read may be old by the time it arrives.
    const roster = await this.#store.load(owner)
    await this.#wait()
    return roster
  }

  async save(owner: BareJid, edit: Parameters<RosterStore['save']>[1]) {
    const { isFailing } = this
    await this.#wait()
    if (isFailing) throw new Error('disk full')
    await this.#store.save(owner, edit)
  }

  async removeAll(owner: BareJid) {
    await this.#wait()
    await this.#store.removeAll(owner)
  }

  /** Once all has come to a halt, one of those that wait goes on; false if there is none. */
  async release(at: number): Promise<boolean> {
    await new Promise((resolve) => setImmediate(resolve))
    const [next] = this.waiting.splice(at % Math.max(1, this.waiting.length), 1)
    next?.()
    return next !== undefined
  }

  #wait(): Promise<void> {
    return new Promise((resolve) => this.waiting.push(resolve))
  }
}

type Command = {
  readonly owner: number
  readonly contact: number
  readonly group: string | undefined
  readonly isFailing: boolean
}

const command: fc.Arbitrary<Command> = fc.record({
  owner: fc.nat({ max: owners.length - 1 }),
  contact: fc.nat({ max: contacts.length - 1 }),
  // Adds a group to the contact; `undefined` removes it.
  group: fc.option(fc.constantFrom('Friends', 'Family', 'Work'), { nil: undefined }),
  isFailing: fc.oneof({ weight: 5, arbitrary: fc.constant(false) }, fc.constant(true)),
})

/** A change that needs what was there before: lost or doubled changes would show. */
function edit(group: string | undefined) {
  return (before: RosterItem): RosterItem | undefined =>
    group === undefined
      ? undefined
      : { ...before, isListed: true, groups: [...before.groups, group] }
}

type Model = Map<string, Map<string, readonly string[]>>

test('changes at once are made one after the other, whatever the cache and the disk do', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(command, { maxLength: 30 }),
      fc.array(fc.nat({ max: 9 }), { minLength: 1, maxLength: 20 }),
      fc.constantFrom(0, 3, 1000),
      async (commands, releases, maxCached) => {
        const store = new SlowStore()
        const rosters = new Rosters({ store, now: () => 1000, maxCached })
        const model: Model = new Map(owners.map((owner) => [owner.full, new Map()]))
        const versions = new Map<string, number[]>()
        let turn = 0
        const release = () => store.release(releases[turn++ % releases.length] as number)

        const all = commands.map(async ({ owner, contact, group, isFailing }) => {
          const account = owners[owner] as BareJid
          const { full } = contacts[contact] as BareJid
          const committed = (version: number) => {
            versions.set(account.full, [...(versions.get(account.full) ?? []), version])
            const items = model.get(account.full) as Map<string, readonly string[]>
            if (group === undefined) items.delete(full)
            else items.set(full, [...(items.get(full) ?? []), group])
          }
          const failing = (before: RosterItem) => {
            if (isFailing) throw new Error('refused')
            return edit(group)(before)
          }
          try {
            await rosters.change(account, contacts[contact] as BareJid, failing, ({ roster }) =>
              committed(roster.version),
            )
          } catch (error) {
            assert.equal((error as Error).message, 'refused')
          }
        })
        const done = Promise.allSettled(all)
        // Readers in between, which load what the cache has let go of.
        const readers: unknown[] = []
        while (await release()) if (readers.length < 30) readers.push(rosters.get(romeo))
        await Promise.all(readers)
        for (const result of await done) assert.equal(result.status, 'fulfilled')

        for (const owner of owners) {
          const loaded = rosters.get(owner)
          while (await release());
          const roster = await loaded
          const groups = [...roster.all()].map(({ contact, groups }) => [contact.full, groups])
          assert.deepEqual(new Map(groups as [string, string[]][]), model.get(owner.full))
          const made = versions.get(owner.full) ?? []
          assert.deepEqual(
            made,
            made.map((_, index) => 1000 + index),
          )
        }
      },
    ),
    { numRuns: 200 },
  )
})

test('a reader waits for the changes that were asked for before', async () => {
  const store = new SlowStore()
  const rosters = new Rosters({ store, now: () => 1000, maxCached: 1000 })
  const added = rosters.change(romeo, nurse, edit('Friends'))
  while (await store.release(0));
  await added
  const changed = rosters.change(romeo, nurse, edit('Work'))
  const read = Promise.resolve(rosters.get(romeo)).then((roster) => roster.get(nurse)?.groups)
  while (await store.release(0));
  assert.deepEqual(await read, ['Friends', 'Work'])
  await changed
})

test('what could not be stored was never there', async () => {
  const store = new SlowStore()
  const rosters = new Rosters({ store, now: () => 1000, maxCached: 1000 })
  const run = async <T>(work: Promise<T>) => {
    const settled = work.catch((error: Error) => error)
    while (await store.release(0));
    return await settled
  }
  await run(rosters.change(romeo, nurse, edit('Friends')))
  store.isFailing = true
  const failed = await run(rosters.change(romeo, nurse, edit('Work')))
  assert.ok(failed instanceof Error)
  store.isFailing = false
  await run(rosters.change(romeo, nurse, edit('Family')))
  const roster = await rosters.get(romeo)
  assert.deepEqual(roster.get(nurse)?.groups, ['Friends', 'Family'])
})

test('changes that wait for a slow disk are limited', async () => {
  const store = new SlowStore()
  const rosters = new Rosters({ store, now: () => 1000, maxCached: 1000 })
  const changes = Array.from({ length: 1001 }, () => rosters.change(romeo, nurse, edit('Friends')))
  const results = Promise.allSettled(changes)
  while (await store.release(0));
  const rejected = (await results).filter(({ status }) => status === 'rejected')
  assert.equal(rejected.length, 1)
})

test('the cache holds no more than it may, and forgets what was used least', async () => {
  let loads = 0
  const kept = memoryRosterStore()
  const store: RosterStore = {
    ...kept,
    load(owner) {
      loads++
      return kept.load(owner)
    },
  }
  // An empty roster counts as one.
  const rosters = new Rosters({ store, now: () => 1000, maxCached: 2 })
  const [first, second, third] = owners as [BareJid, BareJid, BareJid]
  await rosters.get(first)
  await rosters.get(second)
  await rosters.get(first)
  await rosters.get(third)
  assert.equal(loads, 3)
  await rosters.get(first)
  assert.equal(loads, 3)
  await rosters.get(second)
  assert.equal(loads, 4)
  await rosters.change(second, nurse, edit('Friends'))
  await rosters.get(third)
  assert.equal(loads, 5)
})

test('those who wait for a roster share one load', async () => {
  const store = new SlowStore()
  const rosters = new Rosters({ store, now: () => 1000, maxCached: 1000 })
  const waiting = Promise.all([rosters.get(romeo), rosters.get(romeo), rosters.get(romeo)])
  assert.equal(await store.release(0), true)
  assert.equal(await store.release(0), false)
  const [one, two, three] = await waiting
  assert.ok(one === two && two === three)
})
