import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Core, startCore } from '../../../test/support/core.ts'
import {
  presence,
  presencesAway,
  presencesOf,
  sendPresence,
} from '../../../test/support/presence.ts'
import type { RecordingSession } from '../../../test/support/recording-session.ts'
import { Envelope, SERVER } from '../../core/envelope.ts'
import type { Resource } from '../../core/session.ts'
import type { FullJid } from '../../xmpp/jid.ts'
import { parseBare, parseJid } from '../../xmpp/jid.ts'
import type { Element } from '../../xmpp/xml.ts'
import { roster } from '../roster/index.ts'
import { presence as presenceModule } from './index.ts'

const ROMEO = 'romeo@im.example.com'
const NURSE = 'nurse@elsewhere.example'
const ROOM = 'verona@rooms.example/romeo'

const start = (settings: object = {}) =>
  startCore({
    accounts: ['romeo', 'juliet', 'mercutio'],
    modules: [[roster], [presenceModule, settings]],
  })

/** A session that has not sent presence yet. */
const connect = (core: Core, localpart: string, resource: string) =>
  core.connect(localpart, resource, { priority: undefined })

async function login(core: Core, localpart: string, resource: string, status?: string) {
  const session = await connect(core, localpart, resource)
  const options = status === undefined ? {} : { status }
  await sendPresence(core, session, presence(undefined, options))
  return session
}

/** `owner` sees the presence of `contact`, both hosted here, from now on. */
async function subscribe(core: Core, owner: string, contact: string) {
  const from = `${owner}@im.example.com`
  const to = `${contact}@im.example.com`
  const one = await connect(core, owner, 'subscribing')
  const other = await connect(core, contact, 'approving')
  await sendPresence(core, one, presence('subscribe'), to)
  await sendPresence(core, other, presence('subscribed'), from)
  await one.end('closed')
  await other.end('closed')
}

/** A contact elsewhere sees Romeo's presence, and he hers. */
async function befriendNurse(core: Core) {
  const romeo = await connect(core, 'romeo', 'subscribing')
  await sendPresence(core, romeo, presence('subscribed'), NURSE)
  await core.send(NURSE, ROMEO, presence('subscribe'))
  await sendPresence(core, romeo, presence('subscribe'), NURSE)
  await core.send(NURSE, ROMEO, presence('subscribed'))
  await romeo.end('closed')
  presencesAway(core)
}

const stampOf = (session: RecordingSession) =>
  session.received.find(({ stanza }) => stanza.type === 'unavailable')?.stanza.child('delay', DELAY)

const DELAY = 'urn:xmpp:delay'

/** What is answered in its own time has arrived. */
const settle = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)))

// --- Priority.

for (const [text, priority] of [
  ['-128', -128],
  ['127', 127],
  [' 5\n', 5],
  ['+1', 1],
] as const) {
  test(`priority ${JSON.stringify(text)} counts as ${priority}`, async () => {
    await using core = await start()
    const romeo = await connect(core, 'romeo', 'orchard')
    await sendPresence(core, romeo, presence(undefined, { priority: text }))
    assert.equal(romeo.priority, priority)
  })
}

for (const text of ['-129', '128', '', 'high', '1.0', '1 2', '0x1', '٣']) {
  test(`priority ${JSON.stringify(text)} is refused`, async () => {
    await using core = await start()
    const romeo = await connect(core, 'romeo', 'orchard')
    const sent = sendPresence(core, romeo, presence(undefined, { priority: text }))
    await assert.rejects(sent, { condition: 'bad-request' })
    assert.equal(romeo.priority, undefined)
    assert.equal(romeo.presence, undefined)
  })
}

test('two priorities are refused', async () => {
  await using core = await start()
  const romeo = await connect(core, 'romeo', 'orchard')
  const [one] = presence(undefined, { priority: 1 }).elements()
  const twice = presence(undefined, { priority: 1 }).append(one as Element)
  await assert.rejects(sendPresence(core, romeo, twice), { condition: 'bad-request' })
})

test('an unknown type is refused', async () => {
  await using core = await start()
  const romeo = await connect(core, 'romeo', 'orchard')
  await assert.rejects(sendPresence(core, romeo, presence('invisible')), {
    condition: 'bad-request',
  })
})

// --- Broadcast.

test('initial presence: to subscribers and all own resources, and theirs to it', async () => {
  await using core = await start()
  await subscribe(core, 'juliet', 'romeo')
  await subscribe(core, 'romeo', 'mercutio')
  await befriendNurse(core)
  const balcony = await login(core, 'juliet', 'balcony')
  const street = await login(core, 'mercutio', 'street', 'a plague')
  const orchard = await login(core, 'romeo', 'orchard', 'first')
  await settle()
  for (const session of [balcony, street, orchard]) session.received.splice(0)
  presencesAway(core)

  const home = await login(core, 'romeo', 'home', 'second')
  await settle()
  assert.deepEqual(presencesOf(home), [
    `${ROMEO}/home available second`,
    `${ROMEO}/orchard available first`,
    'mercutio@im.example.com/street available a plague',
  ])
  assert.deepEqual(presencesOf(orchard), [`${ROMEO}/home available second`])
  assert.deepEqual(presencesOf(balcony), [`${ROMEO}/home available second`])
  assert.deepEqual(presencesOf(street), [])
  assert.deepEqual(presencesAway(core), [
    `${ROMEO}/home ${NURSE} available second`,
    `${ROMEO}/home ${NURSE} probe`,
  ])
})

test('an update goes to subscribers and own resources, and asks nobody', async () => {
  await using core = await start()
  await befriendNurse(core)
  const romeo = await login(core, 'romeo', 'orchard')
  presencesOf(romeo)
  presencesAway(core)
  await sendPresence(core, romeo, presence('available', { status: 'away' }), romeo.jid.full)
  assert.deepEqual(presencesOf(romeo), [`${ROMEO}/orchard available away`])
  assert.deepEqual(presencesAway(core), [`${ROMEO}/orchard ${NURSE} available away`])
  assert.equal(romeo.presence?.child('status')?.text, 'away')
})

test('unavailable goes to all who had the presence, the resource itself included', async () => {
  await using core = await start()
  await befriendNurse(core)
  const orchard = await login(core, 'romeo', 'orchard')
  const home = await login(core, 'romeo', 'home')
  for (const session of [orchard, home]) presencesOf(session)
  presencesAway(core)
  await sendPresence(core, home, presence('unavailable', { status: 'good night' }))
  assert.equal(home.priority, undefined)
  assert.deepEqual(presencesOf(home), [`${ROMEO}/home unavailable good night`])
  assert.deepEqual(presencesOf(orchard), [`${ROMEO}/home unavailable good night`])
  assert.deepEqual(presencesAway(core), [`${ROMEO}/home ${NURSE} unavailable good night`])
  await sendPresence(core, home, presence('unavailable'))
  assert.deepEqual(presencesAway(core), [])
})

test('hooks tell what happened to a resource', async () => {
  await using core = await start()
  const told: string[] = []
  const note =
    (what: string) =>
    <T>(acc: T): T => {
      told.push(what)
      return acc
    }
  core.hooks.on('user_available', note('available'))
  core.hooks.on('set_presence', note('set'))
  core.hooks.on('unset_presence', note('unset'))
  core.hooks.on('resend_offline_messages', (jid, { session }) => {
    told.push(`offline ${session.priority}`)
    return jid
  })
  const romeo = await connect(core, 'romeo', 'orchard')
  const send = (type?: string, priority = 0) =>
    sendPresence(core, romeo, presence(type, { priority }))
  await send(undefined, -1)
  assert.deepEqual(told.splice(0), ['set', 'available'])
  await send(undefined, 3)
  assert.deepEqual(told.splice(0), ['offline 3', 'set'])
  await send(undefined, 5)
  assert.deepEqual(told.splice(0), ['set'])
  await send('unavailable')
  assert.deepEqual(told.splice(0), ['unset'])
  await send()
  assert.deepEqual(told.splice(0), ['offline 0', 'set', 'available'])
})

test('a failing listener does not keep presence from contacts', async () => {
  await using core = await start()
  await befriendNurse(core)
  core.hooks.on('set_presence', () => {
    throw new Error('out of order')
  })
  await login(core, 'romeo', 'orchard')
  assert.deepEqual(presencesAway(core), [
    `${ROMEO}/orchard ${NURSE} available`,
    `${ROMEO}/orchard ${NURSE} probe`,
  ])
})

test('who is to see nothing is left out, and the text is made once for all resources', async () => {
  await using core = await start()
  await subscribe(core, 'juliet', 'romeo')
  await befriendNurse(core)
  const balcony = await login(core, 'juliet', 'balcony')
  const chamber = await login(core, 'juliet', 'chamber')
  for (const session of [balcony, chamber]) session.received.splice(0)
  core.hooks.on('presence_recipients', (all) =>
    all.filter(({ domain }) => domain !== 'elsewhere.example'),
  )
  await login(core, 'romeo', 'orchard')
  assert.deepEqual(presencesAway(core), [])
  assert.equal(balcony.received.length, 1)
  assert.equal(balcony.received[0], chamber.received[0])
  await core.send(NURSE, ROMEO, presence('probe'))
  assert.deepEqual(presencesAway(core), [])
})

// --- Directed presence.

test('directed presence is remembered, and undone at the end', async () => {
  await using core = await start()
  await befriendNurse(core)
  const romeo = await login(core, 'romeo', 'orchard')
  await sendPresence(core, romeo, presence(), ROOM)
  await sendPresence(core, romeo, presence(), 'left@rooms.example/romeo')
  await sendPresence(core, romeo, presence('unavailable'), 'left@rooms.example/romeo')
  await sendPresence(core, romeo, presence(), 'thrown-out@rooms.example/romeo')
  await sendPresence(core, romeo, presence(), `${NURSE}/kitchen`)
  const kicked = new Envelope(
    parseJid('thrown-out@rooms.example/romeo'),
    romeo.jid,
    presence('unavailable'),
    SERVER,
  )
  await core.hooks.at('user_receive_presence', 'default').run(kicked, { session: romeo })
  presencesAway(core)
  await romeo.end('lost')
  assert.deepEqual(presencesAway(core), [
    `${ROMEO}/orchard ${ROOM} unavailable`,
    // The subscription covers the contact's resources.
    `${ROMEO}/orchard ${NURSE} unavailable`,
  ])
})

test('directed presence without any other is undone too', async () => {
  await using core = await start()
  await befriendNurse(core)
  const romeo = await connect(core, 'romeo', 'orchard')
  await sendPresence(core, romeo, presence(), ROOM)
  assert.equal(romeo.priority, undefined)
  presencesAway(core)
  await sendPresence(core, romeo, presence('unavailable'))
  assert.deepEqual(presencesAway(core), [`${ROMEO}/orchard ${ROOM} unavailable`])
})

test('directed presence has a limit', async () => {
  await using core = await start({ max_directed: 2 })
  const romeo = await login(core, 'romeo', 'orchard')
  const room = (name: string) => `${name}@rooms.example/romeo`
  await sendPresence(core, romeo, presence(), room('one'))
  await sendPresence(core, romeo, presence(), room('two'))
  await assert.rejects(sendPresence(core, romeo, presence(), room('three')), {
    condition: 'not-acceptable',
  })
  await sendPresence(core, romeo, presence(), room('two'))
  await sendPresence(core, romeo, presence('unavailable'), room('one'))
  await sendPresence(core, romeo, presence(), room('three'))
})

// --- Probes.

test('a probe of a subscriber: each available resource answers', async () => {
  await using core = await start()
  await befriendNurse(core)
  await login(core, 'romeo', 'orchard', 'in love')
  await login(core, 'romeo', 'home')
  presencesAway(core)
  await core.send(`${NURSE}/kitchen`, ROMEO, presence('probe'))
  assert.deepEqual(presencesAway(core), [
    `${ROMEO}/orchard ${NURSE}/kitchen available in love`,
    `${ROMEO}/home ${NURSE}/kitchen available`,
  ])
  await core.send(NURSE, `${ROMEO}/home`, presence('probe'))
  assert.deepEqual(presencesAway(core), [`${ROMEO}/home ${NURSE} available`])
  await core.send(NURSE, `${ROMEO}/nowhere`, presence('probe'))
  assert.deepEqual(presencesAway(core), [`${ROMEO}/nowhere ${NURSE} unavailable`])
})

test('a probe when nobody is there: how the account was last seen', async () => {
  await using core = await start()
  await befriendNurse(core)
  const orchard = await login(core, 'romeo', 'orchard')
  const home = await login(core, 'romeo', 'home')
  await sendPresence(core, orchard, presence('unavailable', { status: 'banished' }))
  core.now += 1000
  await sendPresence(core, home, presence('unavailable', { status: 'to Mantua' }))
  const at = new Date(core.now).toISOString()
  core.now += 1000
  for (const isRestarted of [false, true]) {
    if (isRestarted) {
      await core.modules.unload('presence')
      await core.load(presenceModule)
    }
    core.sentAway.splice(0)
    await core.send(NURSE, ROMEO, presence('probe'))
    await core.storage.read('select 1', [])
    await settle()
    const [answer] = core.sentAway
    assert.equal(answer?.stanza.child('delay', DELAY)?.attr('stamp'), at)
    assert.deepEqual(presencesAway(core), [`${ROMEO} ${NURSE} unavailable to Mantua`])
  }
})

test('a probe for somebody who was never there', async () => {
  await using core = await start()
  await subscribe(core, 'juliet', 'romeo')
  const juliet = await login(core, 'juliet', 'balcony')
  const answer = await juliet.receives(({ stanza }) => stanza.type === 'unavailable')
  assert.equal(answer.from.full, ROMEO)
  assert.equal(stampOf(juliet), undefined)
})

test('a probe of a stranger: unsubscribed, whether or not the account exists', async () => {
  await using core = await start()
  await login(core, 'romeo', 'orchard')
  for (const account of [ROMEO, 'nobody@im.example.com']) {
    await core.send(`${NURSE}/kitchen`, account, presence('probe'))
    assert.deepEqual(presencesAway(core), [`${account} ${NURSE} unsubscribed`])
  }
})

test('a probe of somebody who got directed presence is answered by that session alone', async () => {
  await using core = await start()
  const orchard = await login(core, 'romeo', 'orchard')
  await login(core, 'romeo', 'home')
  await sendPresence(core, orchard, presence(), ROOM)
  presencesAway(core)
  await core.send(ROOM, orchard.jid.full, presence('probe'))
  await core.send(ROOM, ROMEO, presence('probe'))
  assert.deepEqual(presencesAway(core), [
    `${ROMEO}/orchard ${ROOM} available`,
    `${ROMEO}/orchard ${ROOM} available`,
  ])
  await core.send('verona@rooms.example/tybalt', orchard.jid.full, presence('probe'))
  assert.deepEqual(presencesAway(core), [`${ROMEO} verona@rooms.example unsubscribed`])
})

test('probing oneself shows the other resources', async () => {
  await using core = await start()
  const home = await login(core, 'romeo', 'home', 'upstairs')
  const orchard = await connect(core, 'romeo', 'orchard')
  await sendPresence(core, orchard, presence('probe'))
  assert.deepEqual(presencesOf(orchard), [`${ROMEO}/home available upstairs`])
  assert.equal(orchard.priority, undefined)
  presencesOf(home)
})

// --- Sessions end.

test('a lost session: unavailable to contacts and own resources', async () => {
  await using core = await start()
  await befriendNurse(core)
  const home = await login(core, 'romeo', 'home')
  const orchard = await login(core, 'romeo', 'orchard')
  presencesOf(home)
  presencesAway(core)
  await orchard.end('lost')
  assert.deepEqual(presencesOf(home), [`${ROMEO}/orchard unavailable`])
  assert.deepEqual(presencesAway(core), [`${ROMEO}/orchard ${NURSE} unavailable`])
  assert.deepEqual(
    presencesOf(orchard).filter((line) => line.includes('unavailable')),
    [],
  )
})

test('presence is of its moment: what a session did not get is not delivered to others', async () => {
  await using core = await start()
  const home = await login(core, 'romeo', 'home')
  const orchard = await core.connect('romeo', 'orchard', { acknowledges: true })
  await core.send(NURSE, ROMEO, presence(undefined, { status: 'old' }))
  await core.send(NURSE, ROMEO, presence('unavailable'))
  presencesOf(home)
  await orchard.end('lost')
  assert.deepEqual(presencesOf(home), [`${ROMEO}/orchard unavailable`])
})

test('a session without presence ends unnoticed', async () => {
  await using core = await start()
  await befriendNurse(core)
  const romeo = await connect(core, 'romeo', 'orchard')
  await romeo.end('closed')
  assert.deepEqual(presencesAway(core), [])
})

/** Replaces a session as the session manager does, and leaves the reason to the test. */
async function replace(core: Core, session: RecordingSession, reason: 'replaced' | 'resumed') {
  // Ends before its close is noticed.
  const ended = new Promise<void>((resolve) => {
    session.close = () => {
      const end = session.end(reason)
      void end.then(resolve)
      return end
    }
  })
  const heir = await connect(core, session.jid.local, session.jid.resource)
  await ended
  return heir
}

test('a replaced session: contacts notice nothing, and its successor owes them the end', async () => {
  await using core = await start()
  await befriendNurse(core)
  const old = await login(core, 'romeo', 'orchard')
  await sendPresence(core, old, presence(), ROOM)
  presencesAway(core)
  const heir = await replace(core, old, 'replaced')
  assert.deepEqual(presencesAway(core), [])
  assert.equal(heir.priority, undefined)
  const grandchild = await replace(core, heir, 'replaced')
  assert.deepEqual(presencesAway(core), [])
  await grandchild.end('lost')
  assert.deepEqual(presencesAway(core), [
    `${ROMEO}/orchard ${ROOM} unavailable`,
    `${ROMEO}/orchard ${NURSE} unavailable`,
  ])
})

test('the successor of a replaced session that sends presence speaks for itself', async () => {
  await using core = await start()
  await befriendNurse(core)
  const old = await login(core, 'romeo', 'orchard')
  const heir = await replace(core, old, 'replaced')
  presencesAway(core)
  await sendPresence(core, heir)
  assert.deepEqual(presencesAway(core), [
    `${ROMEO}/orchard ${NURSE} available`,
    `${ROMEO}/orchard ${NURSE} probe`,
  ])
  await sendPresence(core, heir, presence('unavailable'))
  presencesAway(core)
  await heir.end('closed')
  assert.deepEqual(presencesAway(core), [])
})

test('a resumed session keeps its presence', async () => {
  await using core = await start()
  await befriendNurse(core)
  const old = await login(core, 'romeo', 'orchard', 'still here')
  presencesAway(core)
  const heir = await replace(core, old, 'resumed')
  assert.equal(heir.priority, 0)
  assert.equal(heir.presence?.child('status')?.text, 'still here')
  assert.deepEqual(presencesAway(core), [])
  await heir.end('lost')
  assert.deepEqual(presencesAway(core), [`${ROMEO}/orchard ${NURSE} unavailable`])
})

test('a resource of a lost node: its contacts are told', async () => {
  await using core = await start()
  await befriendNurse(core)
  const home = await login(core, 'romeo', 'home')
  presencesOf(home)
  presencesAway(core)
  const gone: Resource = {
    jid: parseJid(`${ROMEO}/orchard`) as FullJid,
    id: 'gone',
    priority: 5,
    shared: {},
    info: home.info,
    deliver: () => false,
    async close() {},
  }
  await core.hooks.at('session_cleanup', 'default').run(gone, {})
  assert.deepEqual(presencesOf(home), [`${ROMEO}/orchard unavailable`])
  assert.deepEqual(presencesAway(core), [`${ROMEO}/orchard ${NURSE} unavailable`])
})

test('an account that is removed is forgotten', async () => {
  await using core = await start()
  await befriendNurse(core)
  const romeo = await login(core, 'romeo', 'orchard')
  presencesAway(core)
  await romeo.end('kicked')
  await core.hooks.at('remove_user', 'default').run(parseBare(ROMEO), {})
  assert.deepEqual(presencesAway(core), [
    `${ROMEO}/orchard ${NURSE} unavailable`,
    `${ROMEO} ${NURSE} unsubscribed`,
    `${ROMEO} ${NURSE} unsubscribe`,
  ])
  assert.deepEqual(await core.storage.read('select owner from last_presence', []), [])
})

// --- Other modules.

test('blocked and unblocked: gone and back at once', async () => {
  await using core = await start()
  await befriendNurse(core)
  const romeo = await login(core, 'romeo', 'orchard', 'here')
  await sendPresence(core, romeo, presence(), ROOM)
  presencesAway(core)
  const change = async (contact: string, isVisible: boolean) => {
    const changed = { owner: parseBare(ROMEO), contacts: [parseJid(contact)], isVisible }
    await core.hooks.at('presence_visibility_changed', 'default').run(changed, {})
    return presencesAway(core)
  }
  assert.deepEqual(await change(NURSE, false), [`${ROMEO}/orchard ${NURSE} unavailable`])
  assert.deepEqual(await change(NURSE, true), [`${ROMEO}/orchard ${NURSE} available here`])
  assert.deepEqual(await change(`${NURSE}/kitchen`, false), [
    `${ROMEO}/orchard ${NURSE}/kitchen unavailable`,
  ])
  assert.deepEqual(await change('elsewhere.example', false), [
    `${ROMEO}/orchard ${NURSE} unavailable`,
  ])
  assert.deepEqual(await change('rooms.example', false), [`${ROMEO}/orchard ${ROOM} unavailable`])
  assert.deepEqual(await change('rooms.example', false), [])
  assert.deepEqual(await change('stranger@elsewhere.example', false), [])
  assert.deepEqual(await change('stranger@elsewhere.example', true), [])
})

test('a thousand contacts are told without a promise in between', async () => {
  await using core = await start()
  const contacts = Array.from({ length: 1000 }, (_, index) =>
    parseBare(`contact-${index}@${index % 2 === 0 ? 'im.example.com' : 'elsewhere.example'}`),
  )
  core.hooks.on('roster_get_subscription_lists', (lists) => ({ ...lists, from: contacts }), {
    order: 60,
  })
  const romeo = await connect(core, 'romeo', 'orchard')
  await sendPresence(core, romeo)
  presencesAway(core)
  const update = new Envelope(romeo.jid, romeo.jid.toBare(), presence(), {
    kind: 'c2s',
    session: romeo,
  })
  const sent = core.hooks.at('user_send_presence', 'default').run(update, { session: romeo })
  assert.equal(sent, update)
  assert.equal(presencesAway(core).length, 500)
})
