import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type XmppElement, XmppJsClient, xml } from '../support/xmpp-js.ts'
import { setStage } from './stage.ts'

const MAM = 'urn:xmpp:mam:2'
const BLOCKING = 'urn:xmpp:blocking'
const PRIVACY = 'jabber:iq:privacy'
const RETRACT = 'urn:xmpp:message-retract:1'

const set = ({ library }: XmppJsClient, payload: XmppElement) => library.iqCaller.set(payload)

test('@xmpp/client gets carbons of what its other resource sends and receives', async () => {
  await using stage = await setStage()
  await using romeo = await XmppJsClient.connect(stage.romeo)
  await using phone = await XmppJsClient.connect(stage.romeo)
  await using juliet = await XmppJsClient.connect(stage.juliet)
  await set(phone, xml('enable', { xmlns: 'urn:xmpp:carbons:2' }))

  await romeo.sendChat(juliet.jid, 'Shall I hear more?')
  await phone.receives({ carbon: 'sent', body: 'Shall I hear more?', from: stage.romeo.jid })
  await juliet.sendChat(romeo.jid, 'Thou knowest the mask of night')
  await phone.receives({ carbon: 'received', body: /mask of night/, from: stage.romeo.jid })
})

test('@xmpp/client reads its archive', async () => {
  await using stage = await setStage()
  await using romeo = await XmppJsClient.connect(stage.romeo)
  await using juliet = await XmppJsClient.connect(stage.juliet)
  await romeo.sendChat(juliet.jid, 'one')
  await juliet.receives({ body: 'one' })
  const query = xml('iq', { type: 'set' }, xml('query', { xmlns: MAM, queryid: 'q' }))
  const answer = await juliet.library.iqCaller.request(query)
  assert.equal(answer.getChild('fin', MAM)?.attrs.complete, 'true')
  const { xml: result } = await juliet.receives({ kind: 'message', xml: /queryid="q"/ })
  assert.match(result, /<body>one<\/body>/)
})

test('@xmpp/client blocks and unblocks', async () => {
  await using stage = await setStage()
  await using romeo = await XmppJsClient.connect(stage.romeo)
  await using juliet = await XmppJsClient.connect(stage.juliet)
  const item = xml('item', { jid: stage.romeo.jid })
  await set(juliet, xml('block', { xmlns: BLOCKING }, item))
  const list = await juliet.library.iqCaller.get(xml('blocklist', { xmlns: BLOCKING }))
  assert.deepEqual(
    list?.getChildren('item').map(({ attrs }) => attrs.jid),
    [stage.romeo.jid],
  )
  await romeo.sendChat(juliet.jid, 'Art thou not Romeo?')
  await romeo.receives({ type: 'error', xml: /service-unavailable/ })
  await set(juliet, xml('unblock', { xmlns: BLOCKING }, item))
  await romeo.sendChat(juliet.jid, 'at last')
  await juliet.receives({ kind: 'message', body: 'at last' })
})

test('@xmpp/client uses privacy lists', async () => {
  await using stage = await setStage()
  await using romeo = await XmppJsClient.connect(stage.romeo)
  await using juliet = await XmppJsClient.connect(stage.juliet)
  const deny = { type: 'jid', value: stage.romeo.jid, action: 'deny', order: '1' }
  const list = xml('list', { name: 'silence' }, xml('item', deny, xml('message')))
  await set(juliet, xml('query', { xmlns: PRIVACY }, list))
  await set(juliet, xml('query', { xmlns: PRIVACY }, xml('active', { name: 'silence' })))
  await romeo.sendChat(juliet.jid, 'Art thou not Romeo?')
  await romeo.receives({ type: 'error', xml: /service-unavailable/ })
  await set(juliet, xml('query', { xmlns: PRIVACY }, xml('active')))
  await romeo.sendChat(juliet.jid, 'at last')
  await juliet.receives({ kind: 'message', body: 'at last' })
})

test('@xmpp/client takes a message back: both archives have a tombstone', async () => {
  await using stage = await setStage()
  await using romeo = await XmppJsClient.connect(stage.romeo)
  await using juliet = await XmppJsClient.connect(stage.juliet)
  const id = await romeo.sendChat(juliet.jid, 'I love Rosaline')
  await juliet.receives({ body: 'I love Rosaline' })
  const retract = xml('retract', { xmlns: RETRACT, id })
  await romeo.library.send(xml('message', { type: 'chat', to: juliet.jid, id: 'r1' }, retract))
  await juliet.receives({ kind: 'message', xml: /<retract / })
  for (const client of [romeo, juliet]) {
    let first = ''
    // It is put up in the background.
    for (let asked = 0; !first.includes('<retracted'); asked++) {
      const page = xml('set', { xmlns: 'http://jabber.org/protocol/rsm' }, xml('max', {}, '1'))
      const query = xml('query', { xmlns: MAM, queryid: `q${asked}` }, page)
      await client.library.iqCaller.request(xml('iq', { type: 'set' }, query))
      const found = await client.receives({ kind: 'message', xml: RegExp(`queryid="q${asked}"`) })
      first = found.xml
    }
    assert.doesNotMatch(first, /Rosaline/)
  }
})

test('@xmpp/client blocks who sends spam, and reports it', async () => {
  await using stage = await setStage()
  await using juliet = await XmppJsClient.connect(stage.juliet)
  const reason = 'urn:xmpp:reporting:spam'
  const report = xml('report', { xmlns: 'urn:xmpp:reporting:1', reason }, xml('text', {}, 'buy!'))
  const item = xml('item', { jid: 'spammer@example.net' }, report)
  await set(juliet, xml('block', { xmlns: BLOCKING }, item))
  const list = await juliet.library.iqCaller.get(xml('blocklist', { xmlns: BLOCKING }))
  const [kept] = list?.getChildren('item') ?? []
  assert.equal(kept?.attrs.jid, 'spammer@example.net')
  assert.equal(kept?.getChild('report', 'urn:xmpp:reporting:1'), undefined)
})
