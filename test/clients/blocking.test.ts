import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SlixmppClient, SlixmppError, withoutSlixmpp } from '../support/slixmpp.ts'
import { setStage } from './stage.ts'

test('slixmpp: blocked, told, unblocked', { skip: withoutSlixmpp }, async () => {
  await using stage = await setStage()
  await using romeo = await SlixmppClient.connect(stage.romeo)
  await using juliet = await SlixmppClient.connect(stage.juliet)
  const features = (await juliet.discoInfo(stage.domain)).features
  assert.ok(features.includes('urn:xmpp:blocking'))
  assert.ok(features.includes('urn:xmpp:reporting:1'))

  assert.deepEqual(await juliet.blocked(), [])
  await juliet.block(stage.romeo.jid)
  await juliet.receives({ kind: 'iq', type: 'set', xml: /<block .*romeo@/s })
  assert.deepEqual(await juliet.blocked(), [stage.romeo.jid])
  await romeo.sendChat(stage.juliet.jid, 'Art thou not Romeo?')
  await romeo.receives({ kind: 'message', type: 'error', xml: /service-unavailable/ })
  await juliet.sendChat(stage.romeo.jid, 'O Romeo')
  await juliet.receives({ kind: 'message', type: 'error', xml: /not-acceptable.*<blocked /s })
  await assert.rejects(juliet.block('@nowhere'), SlixmppError)

  await juliet.unblock(stage.romeo.jid)
  assert.deepEqual(await juliet.blocked(), [])
  await romeo.sendChat(stage.juliet.jid, 'at last')
  await juliet.receives({ kind: 'message', body: 'at last' })
  await juliet.receivesNo({ body: 'Art thou not Romeo?' })
})
