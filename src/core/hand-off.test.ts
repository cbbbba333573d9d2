import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type FullJid, jid } from '../xmpp/jid.ts'
import { Stanza } from '../xmpp/stanza.ts'
import { Envelope, SERVER } from './envelope.ts'
import { AGAIN, HandOff } from './hand-off.ts'
import { DROP, Hooks } from './hooks.ts'
import { silentLogger } from './log.ts'
import type { Maybe } from './maybe.ts'
import { dropped, Outcome } from './outcome.ts'
import type { Resource } from './session.ts'
import { Sessions } from './sessions.ts'

const ROMEO = jid('romeo', 'im.example.com', 'orchard')
const TYPE = 'default'
const ELSEWHERE = dropped('test', 'decided again')
const OUT_OF_REACH = dropped('test', 'out of reach')
const NOBODY = dropped('test', 'nobody')

function setUp() {
  const hooks = new Hooks(silentLogger)
  const sessions = new Sessions()
  const handOff = new HandOff({
    hooks,
    sessions,
    decideAgain: () => ELSEWHERE,
    unreachable: () => OUT_OF_REACH,
  })
  const delivered: string[][] = []
  hooks.on('sm_message_delivered', (envelope, { reached }) => {
    delivered.push(reached.map((resource) => resource.jid.resource))
    return envelope
  })
  /** One of this node, unless it is `remote`, that answers so. */
  const resource = (name: string, takes: Maybe<boolean>, isRemote = false) => {
    const address = jid('juliet', 'im.example.com', name) as FullJid
    const fake = { jid: address, deliver: () => takes, ...(isRemote ? {} : { setPresence() {} }) }
    const made = fake as unknown as Resource
    sessions.add(made)
    return made
  }
  return { hooks, sessions, handOff, delivered, resource }
}

function message(): Envelope {
  const to = jid('juliet', 'im.example.com')
  return new Envelope(ROMEO, to, Stanza.build('message', { type: 'chat' }), SERVER)
}

test('who takes a message has it', () => {
  const { handOff, delivered, resource } = setUp()
  const outcome = handOff.to(message(), [resource('balcony', true)], TYPE, AGAIN)
  assert.ok(outcome instanceof Outcome)
  assert.equal(outcome.fate, 'delivered')
  assert.deepEqual(delivered, [['balcony']])
})

test('of several, those that are there', async () => {
  const { handOff, delivered, sessions, resource } = setUp()
  const targets = [
    resource('balcony', Promise.resolve(true)),
    resource('chamber', false),
    resource('tomb', Promise.resolve(false), true),
  ]
  const outcome = await handOff.to(message(), targets, TYPE, AGAIN)
  assert.deepEqual(
    outcome.sessions.map((session) => session.resource),
    ['balcony'],
  )
  assert.deepEqual(delivered, [['balcony']])
  // What another node has is for that to say.
  assert.deepEqual(
    sessions.of('juliet@im.example.com').map((one) => one.jid.resource),
    ['balcony', 'tomb'],
  )
})

test('a session that is gone is forgotten, and it is decided again, or as was said before', () => {
  const { handOff, delivered, sessions, resource } = setUp()
  const gone = resource('balcony', false)
  assert.equal(handOff.to(message(), [gone], TYPE, AGAIN), ELSEWHERE)
  assert.equal(sessions.get(gone.jid), undefined)
  assert.equal(handOff.to(message(), [gone], TYPE, NOBODY), NOBODY)
  assert.equal(handOff.to(message(), [], TYPE, AGAIN), ELSEWHERE)
  assert.equal(handOff.to(message(), [], TYPE, NOBODY), NOBODY)
  assert.deepEqual(delivered, [])
})

test('a node that takes nothing more leaves its sessions out of reach', async () => {
  const { handOff, resource } = setUp()
  const target = resource('balcony', Promise.resolve(false), true)
  assert.equal(await handOff.to(message(), [target], TYPE, AGAIN), OUT_OF_REACH)
})

test('a message that is filtered is nobody’s, also when that takes time', async () => {
  for (const verdict of [DROP, Promise.resolve(DROP)] as const) {
    const { handOff, hooks, delivered, resource } = setUp()
    hooks.on('sm_message_decided', () => verdict)
    const outcome = await handOff.to(message(), [resource('balcony', true)], TYPE, AGAIN)
    assert.equal(outcome.fate, 'dropped')
    assert.equal(outcome.by, 'sm_message_decided')
    assert.deepEqual(delivered, [])
  }
})
