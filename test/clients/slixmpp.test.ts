import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SlixmppClient, withoutSlixmpp } from '../support/slixmpp.ts'
import { setStage } from './stage.ts'

const skip = withoutSlixmpp

test('slixmpp discovers a server for instant messaging', { skip }, async () => {
  await using stage = await setStage()
  await using romeo = await SlixmppClient.connect(stage.romeo)

  const { identities, features } = await romeo.discoInfo(stage.domain)

  assert.ok(identities.some(({ category, type }) => category === 'server' && type === 'im'))
  assert.ok(features.includes('http://jabber.org/protocol/disco#info'))
  assert.ok(features.includes('urn:xmpp:ping'))
  assert.ok(Array.isArray(await romeo.discoItems(stage.domain)))
})

test('slixmpp publishes a vCard that others can read', { skip }, async () => {
  await using stage = await setStage()
  await using romeo = await SlixmppClient.connect(stage.romeo)
  await using juliet = await SlixmppClient.connect(stage.juliet)
  const card = { fullName: 'Romeo Montague', nickname: 'R' }

  await romeo.setVcard(card)

  const expected = { fullName: card.fullName, nicknames: [card.nickname] }
  assert.deepEqual(await romeo.vcard(), expected)
  assert.deepEqual(await juliet.vcard(stage.romeo.jid), expected)
})

test('slixmpp stores private XML and gets it back', { skip }, async () => {
  await using stage = await setStage()
  await using romeo = await SlixmppClient.connect(stage.romeo)

  await romeo.setPrivateXml('<notes xmlns="urn:example:notes"><note>a &amp; b</note></notes>')

  assert.deepEqual(await romeo.privateXml('<notes xmlns="urn:example:notes"/>'), [
    '<notes xmlns="urn:example:notes"><note>a &amp; b</note></notes>',
  ])
})

test('slixmpp gets carbons of what its other resource sends and receives', { skip }, async () => {
  await using stage = await setStage()
  await using romeo = await SlixmppClient.connect(stage.romeo)
  await using phone = await SlixmppClient.connect(stage.romeo)
  await using juliet = await SlixmppClient.connect(stage.juliet)
  await phone.enableCarbons()

  await romeo.sendChat(juliet.jid, 'Shall I hear more?')
  await juliet.receives({ kind: 'message', body: 'Shall I hear more?' })
  await phone.receives({ kind: 'message', carbon: 'sent', body: 'Shall I hear more?' })

  await juliet.sendChat(romeo.jid, 'Thou knowest the mask of night')
  await phone.receives({ kind: 'message', carbon: 'received', body: /mask of night/ })
})

test('slixmpp reads its archive, page by page', { skip }, async () => {
  await using stage = await setStage({ modules: { archive: { page_size: 2 } } })
  await using romeo = await SlixmppClient.connect(stage.romeo)
  await using juliet = await SlixmppClient.connect(stage.juliet)
  const lines = ['Two households', 'both alike in dignity', 'in fair Verona', 'where we lay']
  for (const line of lines) {
    await romeo.sendChat(juliet.jid, line)
    await juliet.receives({ kind: 'message', body: line, xml: /stanza-id/ })
  }
  await romeo.sendChat(stage.romeo.jid, 'our scene')
  await romeo.receives({ kind: 'message', body: 'our scene' })

  assert.deepEqual(await juliet.archive(), lines)
  assert.deepEqual(await romeo.archive(), [...lines, 'our scene'])
  assert.deepEqual(await romeo.archive(stage.juliet.jid), lines)
})
