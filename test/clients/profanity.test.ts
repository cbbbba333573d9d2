import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Profanity, withoutProfanity } from '../support/profanity.ts'
import { XmppJsClient } from '../support/xmpp-js.ts'
import { setStage } from './stage.ts'

test('a person at profanity chats and makes a contact', { skip: withoutProfanity }, async () => {
  await using stage = await setStage()
  await using romeo = await Profanity.connect({ ...stage.romeo, tls: 'trust' })
  await using juliet = await XmppJsClient.connect(stage.juliet)

  romeo.types(`/msg ${stage.juliet.jid} Art thou not Romeo; ☂?`)
  const { from } = await juliet.receives({ kind: 'message', body: 'Art thou not Romeo; ☂?' })
  assert.equal(from, `${stage.romeo.jid}/profanity`)
  await juliet.sendChat(from, 'Neither, fair saint')
  await romeo.shows(/Neither, fair saint/)

  romeo.types(`/sub request ${stage.juliet.jid}`)
  await juliet.receives({ kind: 'presence', type: 'subscribe', from: stage.romeo.jid })
  await juliet.sendSubscription(stage.romeo.jid, 'subscribed')
  romeo.types('/win 1')
  await romeo.shows(/Subscription received from juliet/)
  await romeo.shows(/juliet\S* \(\S+\) is online/)
})
