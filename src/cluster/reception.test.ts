import assert from 'node:assert/strict'
import { test } from 'node:test'
import { conditionOf, startCore } from '../../test/support/core.ts'
import { Envelope, type Origin } from '../core/envelope.ts'
import { stop } from '../core/hooks.ts'
import { silentLogger } from '../core/log.ts'
import { Outcome } from '../core/outcome.ts'
import type { DeliveryShare } from '../core/shared-delivery.ts'
import { within } from '../core/within.ts'
import { parseJid } from '../xmpp/jid.ts'
import { Stanza } from '../xmpp/stanza.ts'
import { StanzaError } from '../xmpp/stanza-error.ts'
import { Reception } from './reception.ts'
import { systemClock } from './transport.ts'

const ROMEO = parseJid('romeo@montague.example/orchard')
const ELSEWHERE: Origin = { kind: 's2s', domain: ROMEO.domain }
const COMPONENT = 'component-1'

async function receive() {
  const core = await startCore({ accounts: ['juliet'] })
  const juliet = await core.connect('juliet')
  const { hooks, router, iq, routes, sessionManager } = core
  const refuse = () => {
    throw new StanzaError('resource-constraint')
  }
  const component = {
    id: COMPONENT,
    domains: [],
    isSubdomain: false,
    isHidden: false,
    isLocal: true,
    handle: refuse,
    awaits: () => false,
    close: async () => {},
  }
  const reception = new Reception({
    clock: systemClock,
    log: silentLogger,
    hooks,
    router,
    iq,
    routes,
    sessionManager,
    connections: { find: (id) => (id === COMPONENT ? component : undefined) },
  })
  const message = (share?: DeliveryShare) => {
    const stanza = Stanza.build('message', { type: 'chat', id: 'hand-in-hand' })
    return new Envelope(ROMEO, juliet.jid, stanza, ELSEWHERE, undefined, undefined, share)
  }
  const answers = () => core.sentAway.map(({ to, stanza }) => [to.full, conditionOf(stanza)])
  return { core, juliet, reception, message, answers }
}

for (const how of ['throws', 'rejects'] as const) {
  test(`the sender is told when a handler ${how} for what another node handed over`, async () => {
    const { core, juliet, reception, message, answers } = await receive()
    await using _ = core
    core.hooks.on('sm_message_taken', (envelope) => {
      const error = new Error('the disk is full')
      if (how === 'rejects') return Promise.reject(error)
      if (envelope !== undefined) throw error
      return envelope
    })
    assert.equal(await reception.toSession(juliet.jid.full, message()), false)
    assert.deepEqual(answers(), [[ROMEO.full, 'internal-server-error']])
  })
}

test('what a session that is over leaves goes on with the number of its durable copy', async () => {
  const { core, juliet, reception, message } = await receive()
  await using _ = core
  core.hooks.on('sm_message_taken', (envelope) => envelope.noted({ kept: 7 }))
  const kept: unknown[] = []
  core.hooks.on('offline_message', (outcome, { envelope }) => {
    kept.push(envelope.notes.kept)
    return outcome
  })
  juliet.isClosed = true
  await reception.toSession(juliet.jid.full, message())
  assert.deepEqual(kept, [7])
  const held: unknown[] = []
  const share = {
    acknowledge: () => {},
    giveBack: (envelope: Envelope) => {
      held.push(envelope.notes.kept)
      return false
    },
  }
  await core.connect('juliet')
  const again = await core.connect('juliet')
  again.isClosed = true
  await reception.toSession(again.jid.full, message(share))
  assert.deepEqual(held, [7])
})

test('who hears of it is whoever gave it to several, if others have it as well', async () => {
  const { core, juliet, reception, message, answers } = await receive()
  await using _ = core
  core.hooks.on('sm_message_taken', () => Promise.reject(new Error('the disk is full')))
  const held: Envelope[] = []
  const share = {
    acknowledge: () => {},
    giveBack: (envelope: Envelope) => {
      held.push(envelope)
      return false
    },
  }
  await reception.toSession(juliet.jid.full, message(share))
  assert.equal(held.length, 1)
  assert.deepEqual(answers(), [])
})

test('what is for a session that is gone does not wait for other nodes', async () => {
  const { core, juliet, reception, message } = await receive()
  await using _ = core
  const elsewhere = Promise.withResolvers<void>()
  const here = Promise.withResolvers<void>()
  core.sessionManager.holdBack(juliet.jid, elsewhere.promise, true)
  core.sessionManager.holdBack(juliet.jid, here.promise)
  core.sessionManager.sessions.remove(juliet)
  const decided = Promise.resolve(reception.toSession(juliet.jid.full, message()))
  assert.equal(await within(50, decided), false)
  here.resolve()
  // Whatever it waits for it waits for longer.
  assert.equal(await within(3_000, decided), true)
  elsewhere.resolve()
})

test('what is stored is passed on when it can be read', async () => {
  const { core, juliet, reception, message } = await receive()
  await using _ = core
  const stored = Promise.withResolvers<void>()
  core.hooks.on('offline_message', () => {
    core.sessionManager.holdBack(juliet.jid, stored.promise)
    return stop(new Outcome('stored', 'offline'))
  })
  juliet.isClosed = true
  const envelope = message()
  assert.equal(await reception.toSession(juliet.jid.full, envelope), true)
  let isPassedOn = false
  const passedOn = reception.passedOn(envelope)?.then(() => {
    isPassedOn = true
  })
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(isPassedOn, false)
  stored.resolve()
  await passedOn
  assert.equal(isPassedOn, true)
  assert.equal(reception.passedOn(envelope), undefined)
})

test('what a component does not take is answered with what it says', async () => {
  const { core, reception, message, answers } = await receive()
  await using _ = core
  await reception.toComponent(COMPONENT, message())
  assert.deepEqual(answers(), [[ROMEO.full, 'resource-constraint']])
})
