import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SlixmppClient, SlixmppError, withoutSlixmpp } from '../support/slixmpp.ts'
import { setStage } from './stage.ts'

test('slixmpp: privacy lists are made, used and refused', { skip: withoutSlixmpp }, async () => {
  await using stage = await setStage()
  await using romeo = await SlixmppClient.connect(stage.romeo)
  await using juliet = await SlixmppClient.connect(stage.juliet)
  assert.deepEqual(await juliet.privacyLists(), { active: '', default: '', names: [] })

  const romeoAlone = { type: 'jid', value: stage.romeo.jid } as const
  await juliet.setPrivacyList('silence', [
    { ...romeoAlone, action: 'deny', order: 1, kinds: ['message'] },
  ])
  await juliet.receives({ kind: 'iq', type: 'set', xml: /jabber:iq:privacy.*silence/s })
  await juliet.choosePrivacyList('default', 'silence')
  assert.deepEqual(await juliet.privacyLists(), {
    active: '',
    default: 'silence',
    names: ['silence'],
  })
  await romeo.sendChat(stage.juliet.jid, 'Art thou not Romeo?')
  await romeo.receives({ kind: 'message', type: 'error', xml: /service-unavailable/ })

  await juliet.setPrivacyList('all', [{ action: 'allow', order: 1 }])
  await juliet.choosePrivacyList('active', 'all')
  await romeo.sendChat(juliet.jid, 'at last')
  await juliet.receives({ kind: 'message', body: 'at last' })

  await juliet.choosePrivacyList('active')
  await juliet.choosePrivacyList('default')
  assert.deepEqual((await juliet.privacyLists()).names, ['all', 'silence'])
  await assert.rejects(juliet.choosePrivacyList('active', 'none'), SlixmppError)
})
