import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SlixmppClient, withoutSlixmpp } from '../support/slixmpp.ts'
import { setStage } from './stage.ts'

const skip = withoutSlixmpp

test('slixmpp reads its archive', { skip }, async () => {
  await using stage = await setStage()
  await using romeo = await SlixmppClient.connect(stage.romeo)
  await using juliet = await SlixmppClient.connect(stage.juliet)
  await romeo.sendChat(stage.juliet.jid, 'one')
  await juliet.receives({ kind: 'message', body: 'one' })
  await juliet.sendChat(stage.romeo.jid, 'two')
  await romeo.receives({ kind: 'message', body: 'two' })

  assert.deepEqual(await romeo.archive(), ['one', 'two'])
  assert.deepEqual(await juliet.archive(stage.romeo.jid), ['one', 'two'])
})
