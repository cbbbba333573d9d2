import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Core, DOMAIN, startCore } from '../../../test/support/core.ts'
import type { RecordingSession } from '../../../test/support/recording-session.ts'
import { openEmpty } from '../../../test/support/storage-backends.ts'
import { UNWATCHED } from '../../core/command.ts'
import { Envelope } from '../../core/envelope.ts'
import { resultOf } from '../../core/hooks.ts'
import { Settlement } from '../../core/settlement.ts'
import type { Storage } from '../../core/storage.ts'
import { StorageError } from '../../core/storage.ts'
import { NOT_TAKEN, PIE_ARCHIVE_NS, type Taken } from '../../core/user-data.ts'
import { jid, parseBare, parseJid } from '../../xmpp/jid.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { type Element, el } from '../../xmpp/xml.ts'
import { archive } from './index.ts'

const JULIET = `juliet@${DOMAIN}`
const ROMEO = `romeo@${DOMAIN}`
const DAY = 86_400_000

async function start(settings: object = {}, storage?: Storage) {
  const core = await startCore({
    accounts: ['romeo', 'juliet'],
    modules: [[archive, settings]],
    ...(storage !== undefined && { storage }),
  })
  return {
    core,
    romeo: await core.connect('romeo', 'orchard'),
    juliet: await core.connect('juliet'),
  }
}

const chat = (body: string) =>
  Stanza.build('message', { type: 'chat', id: body }, el('body', {}, body))

/** Sends as a client with stream management does. */
async function send(core: Core, from: RecordingSession, to: string, stanza: Stanza) {
  const settlement = new Settlement()
  const origin = { kind: 'c2s', session: from } as const
  const outcome = await core.router.route(
    new Envelope(from.jid, parseJid(to), stanza, origin, undefined, settlement),
  )
  return { outcome, settlement }
}

/** Owners and bodies of all archives, oldest first. */
async function kept({ storage }: { readonly storage: Storage }): Promise<string[]> {
  const rows = await storage.read<{ owner: string; xml: string }>(
    'select owner, xml from archive order by seq',
    [],
  )
  return rows.map(
    ({ owner, xml }) => `${owner.split('@')[0]}: ${/<body>(.*)<\/body>/.exec(xml)?.[1]}`,
  )
}

test('the sender’s acknowledgement waits for both archives, and nobody else for anything', async () => {
  const { core, romeo, juliet } = await start()
  await using _ = core
  await (await send(core, romeo, JULIET, chat('1'))).settlement.done
  const { settlement } = await send(core, romeo, JULIET, chat('2'))
  assert.equal(juliet.received.length, 2)
  assert.notEqual(settlement.done, undefined)
  await settlement.done
  assert.deepEqual(await kept(core), ['juliet: 1', 'romeo: 1', 'juliet: 2', 'romeo: 2'])
  const ids = await core.storage.read<{ id: string }>('select distinct id from archive', [])
  assert.equal(ids.length, 2)
})

test('a message that goes to another resource after all is archived once', async () => {
  const { core, romeo, juliet } = await start()
  await using _ = core
  const second = await core.connect('juliet', 'chamber')
  // It is gone, and nobody knows yet.
  juliet.isClosed = true
  const { settlement } = await send(core, romeo, juliet.jid.full, chat('again'))
  const [delivered] = second.received
  assert.equal(delivered?.notes.archived, delivered?.stanza.child('stanza-id', SID)?.attr('id'))

  await second.end()
  const third = await core.connect('juliet', 'garden')
  await core.router.route((delivered as Envelope).noted({ isRetry: true }).with({ to: third.jid }))
  assert.equal(third.received[0]?.stanza.children.length, 2)
  await settlement.done
  const archived = (await kept(core)).filter((line) => line.endsWith('again'))
  assert.deepEqual(archived, ['juliet: again', 'romeo: again'])
})

const SID = 'urn:xmpp:sid:0'

test('messages from elsewhere, and to elsewhere, are archived here', async () => {
  const { core, romeo } = await start()
  await using _ = core
  await core.send('paris@elsewhere.example/tomb', ROMEO, chat('condemned villain'))
  const [received] = romeo.received
  assert.equal(received?.stanza.child('stanza-id', SID)?.attr('by'), ROMEO)
  const { outcome, settlement } = await send(core, romeo, 'paris@elsewhere.example', chat('hence'))
  assert.equal(outcome.fate, 'forwarded')
  await settlement.done
  assert.equal(core.sentAway[0]?.stanza.has('stanza-id', SID), false)
  assert.deepEqual(await kept(core), ['romeo: condemned villain', 'romeo: hence'])
})

test('results of a query are neither archived nor delivered to anybody else', async () => {
  const { core, romeo } = await start()
  await using _ = core
  const other = await core.connect('romeo', 'garden')
  await (await send(core, romeo, JULIET, chat('1'))).settlement.done
  const answer = await core.ask(romeo, ROMEO, 'set', el('query', { xmlns: 'urn:xmpp:mam:2' }))
  assert.equal(answer.type, 'result')
  const [result, iq] = romeo.received
  assert.equal(result?.stanza.has('result', 'urn:xmpp:mam:2'), true)
  assert.equal(result?.from.full, ROMEO)
  assert.equal(iq?.stanza.kind, 'iq')
  assert.equal(other.received.length, 0)
  assert.equal((await kept(core)).length, 2)
})

test('what is older than it may be goes, slice by slice', async () => {
  const { core, romeo } = await start({ retention: '2d' })
  await using _ = core
  await (await send(core, romeo, JULIET, chat('old'))).settlement.done
  core.now += 1.5 * DAY
  await (await send(core, romeo, JULIET, chat('new'))).settlement.done
  await core.tick()
  assert.equal((await kept(core)).length, 4)
  core.now += DAY
  await core.tick()
  assert.deepEqual(await kept(core), ['juliet: new', 'romeo: new'])
})

test('what came from elsewhere goes in its time, too, within a day', async () => {
  const { core, romeo } = await start({ retention: '30d' })
  await using _ = core
  await core.tick()
  const settlements = []
  for (let n = 0; n < 300; n++) settlements.push(await send(core, romeo, JULIET, chat(`new${n}`)))
  for (const { settlement } of settlements) await settlement.done
  const stamp = new Date(core.now - 29 * DAY).toISOString()
  const message = el('message', { xmlns: 'jabber:client', from: ROMEO }, el('body', {}, 'old'))
  const forwarded = el(
    'forwarded',
    { xmlns: 'urn:xmpp:forward:0' },
    el('delay', { xmlns: 'urn:xmpp:delay', stamp }),
    message,
  )
  const result = el('result', { xmlns: 'urn:xmpp:mam:2', id: 'one' }, forwarded)
  assert.equal((await take(core, el('archive', { xmlns: PIE_ARCHIVE_NS }, result))).added, 1)
  core.now += 2 * DAY
  await core.tick()
  const all = await kept(core)
  assert.equal(all.length, 600)
  assert.ok(!all.includes('juliet: old'))
})

test('an administrator purges one archive, or all', async () => {
  const { core, romeo } = await start()
  await using _ = core
  await (await send(core, romeo, JULIET, chat('old'))).settlement.done
  core.now += DAY
  const purge = (args: object) => core.commands.run('archive purge', args, UNWATCHED)
  const juliet = jid('juliet', DOMAIN).full
  assert.deepEqual(await purge({ older_than: '1h', jid: juliet }), { removed: 1 })
  assert.deepEqual(await kept(core), ['romeo: old'])
  assert.deepEqual(await purge({ older_than: 0 }), { removed: 1 })
  await assert.rejects(purge({ older_than: 'yesterday' }), { code: 'invalid' })
})

/** A database that takes no rows for the archive, or does not say what anybody wants archived. */
class Failing {
  readonly storage: Storage
  fails: 'insert' | 'select' | undefined

  constructor(storage: Storage) {
    this.storage = new Proxy(storage, {
      get: (target, name) => {
        const value = Reflect.get(target, name, target)
        if (typeof value !== 'function') return value
        return (...given: unknown[]) => {
          const isMeant =
            (name === 'write' && this.fails === 'insert' && /^insert/.test(String(given[0]))) ||
            (name === 'read' && this.fails === 'select' && /preferences/.test(String(given[0])))
          if (isMeant) return Promise.reject(new StorageError('full', 'no room'))
          return value.apply(target, given)
        }
      },
    })
  }
}

test('while the disk takes nothing, messages arrive, and are acknowledged once they are safe', async () => {
  await using storage = await openEmpty()
  const failing = new Failing(storage)
  const { core, romeo, juliet } = await start({}, failing.storage)
  await using _ = core
  await (await send(core, romeo, JULIET, chat('1'))).settlement.done
  failing.fails = 'insert'
  const { settlement } = await send(core, romeo, JULIET, chat('2'))
  let isSafe = false
  const safe = settlement.done?.then(() => {
    isSafe = true
  })
  // A query does not wait for what cannot be written, and tells what there is.
  const answer = await core.ask(romeo, ROMEO, 'set', el('query', { xmlns: 'urn:xmpp:mam:2' }))
  assert.equal(answer.type, 'result')
  assert.equal(juliet.received.length, 2)
  assert.equal(isSafe, false)
  failing.fails = undefined
  await safe
  assert.deepEqual((await kept(core)).slice(2), ['juliet: 2', 'romeo: 2'])
})

test('where it cannot be told what somebody wants, a message arrives unacknowledged', async () => {
  await using storage = await openEmpty()
  const failing = new Failing(storage)
  const { core, juliet } = await start({}, failing.storage)
  await using _ = core
  failing.fails = 'select'
  const nurse = await core.connect('nurse')
  const { settlement } = await send(core, nurse, JULIET, chat('1'))
  assert.equal(juliet.received.length, 1)
  await assert.rejects(settlement.done as Promise<unknown>, { kind: 'full' })
  failing.fails = undefined
  await (await send(core, nurse, JULIET, chat('2'))).settlement.done
  assert.deepEqual(await kept(core), ['juliet: 1', 'juliet: 2', 'nurse: 2'])
})

test('ids go on behind those of an earlier run, though the clock was set back', async () => {
  await using storage = await openEmpty()
  {
    const { core, romeo } = await start({}, storage)
    await using _ = core
    await (await send(core, romeo, JULIET, chat('1'))).settlement.done
  }
  const { core, romeo } = await start({}, storage)
  await using _ = core
  core.now -= DAY
  await (await send(core, romeo, JULIET, chat('2'))).settlement.done
  const rows = await storage.read<{ id: string }>('select id from archive order by seq', [])
  const ids = rows.map(({ id }) => id)
  assert.deepEqual(ids, ids.toSorted())
})

/** Takes in what a document of XEP-0227 has of Juliet. */
async function take(core: Core, part: Element): Promise<Taken> {
  const portion = { part, items: part.elements() }
  const point = core.hooks.at('import_user_data', 'default')
  return resultOf(await point.run(NOT_TAKEN, { account: parseBare(JULIET), portion }), NOT_TAKEN)
}

test('preferences from elsewhere: one entry that is no address keeps no other out', async () => {
  const { core, juliet } = await start()
  await using _ = core
  const list = (name: string, ...all: string[]) =>
    el(name, {}, ...all.map((address) => el('jid', {}, address)))
  const prefs = (...lists: Element[]) =>
    el('prefs', { xmlns: 'urn:xmpp:mam:2', default: 'roster' }, ...lists)
  const damaged = prefs(
    list('always', '@', ROMEO),
    list('never', 'paris@', 'tybalt@verona.example'),
  )
  const { added, problems } = await take(core, damaged)
  assert.equal(added, 1)
  assert.equal(problems.length, 2)
  const kept = await core.ask(juliet, JULIET, 'get', el('prefs', { xmlns: 'urn:xmpp:mam:2' }))
  assert.deepEqual(
    kept.child('prefs', 'urn:xmpp:mam:2'),
    prefs(list('always', ROMEO), list('never', 'tybalt@verona.example')),
  )
})
