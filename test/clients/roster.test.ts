import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SlixmppClient, withoutSlixmpp } from '../support/slixmpp.ts'
import { libraries, setStage } from './stage.ts'

for (const asker of libraries) {
  for (const asked of libraries) {
    const skip = asker.skip || asked.skip

    test(`${asker.name} and ${asked.name} become contacts and see each other`, {
      skip,
    }, async () => {
      await using stage = await setStage()
      await using romeo = await asker.connect(stage.romeo)
      await using juliet = await asked.connect(stage.juliet)

      await romeo.sendSubscription(stage.juliet.jid, 'subscribe')
      await juliet.receives({ kind: 'presence', type: 'subscribe', from: stage.romeo.jid })
      await juliet.sendSubscription(stage.romeo.jid, 'subscribed')
      await romeo.receives({ kind: 'presence', type: 'subscribed', from: stage.juliet.jid })
      await romeo.receives({ kind: 'presence', type: '', from: juliet.jid })

      await juliet.sendSubscription(stage.romeo.jid, 'subscribe')
      await romeo.receives({ kind: 'presence', type: 'subscribe', from: stage.juliet.jid })
      await romeo.sendSubscription(stage.juliet.jid, 'subscribed')
      await juliet.receives({ kind: 'presence', type: '', from: romeo.jid })

      const subscriptions = (await romeo.roster()).map(({ jid, subscription, ask }) => {
        return { jid, subscription, ask }
      })
      assert.deepEqual(subscriptions, [{ jid: stage.juliet.jid, subscription: 'both', ask: '' }])

      const { jid } = romeo
      await romeo.close()
      await juliet.receives({ kind: 'presence', type: 'unavailable', from: jid })
    })
  }
}

test('a request waits for one who is away', { skip: withoutSlixmpp }, async () => {
  await using stage = await setStage()
  await using romeo = await SlixmppClient.connect(stage.romeo)
  await romeo.sendSubscription(stage.juliet.jid, 'subscribe')
  await romeo.ping()
  assert.equal((await romeo.roster())[0]?.ask, 'subscribe')

  await using juliet = await SlixmppClient.connect(stage.juliet)
  await juliet.receives({ kind: 'presence', type: 'subscribe', from: stage.romeo.jid })
  await juliet.sendSubscription(stage.romeo.jid, 'unsubscribed')

  await romeo.receives({ kind: 'presence', type: 'unsubscribed', from: stage.juliet.jid })
  const [item] = await romeo.roster()
  assert.deepEqual([item?.subscription, item?.ask], ['none', ''])
})

test('a contact gets a name and groups, and goes', { skip: withoutSlixmpp }, async () => {
  await using stage = await setStage()
  await using romeo = await SlixmppClient.connect(stage.romeo)
  await using phone = await SlixmppClient.connect(stage.romeo)
  const { jid } = stage.juliet

  await romeo.setRosterItem({ jid, name: 'Juliet <3', groups: ['Capulets', 'Friends'] })
  await phone.receives({ kind: 'iq', type: 'set', xml: /Juliet &lt;3/ })
  assert.deepEqual(await phone.roster(), [
    { jid, name: 'Juliet <3', subscription: 'none', ask: '', groups: ['Capulets', 'Friends'] },
  ])

  await phone.removeRosterItem(jid)
  await romeo.receives({ kind: 'iq', type: 'set', xml: /subscription="remove"/ })
  assert.deepEqual(await romeo.roster(), [])
})
