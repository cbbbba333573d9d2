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

test('slixmpp: what the archive has, how it is asked, and what goes into it', {
  skip,
}, async () => {
  await using stage = await setStage()
  await using romeo = await SlixmppClient.connect(stage.romeo)
  await using juliet = await SlixmppClient.connect(stage.juliet)
  await romeo.sendChat(stage.juliet.jid, 'one')
  await juliet.receives({ kind: 'message', body: 'one' })
  const [start, end] = await juliet.archiveEnds()
  assert.equal(start, end)
  const fields = await juliet.archiveFields()
  for (const name of ['with', 'start', 'end', 'before-id', 'after-id', 'ids']) {
    assert.ok(fields.includes(name), name)
  }

  const nothing = { default: 'always', always: [], never: [] }
  assert.deepEqual(await juliet.archivePreferences(), nothing)
  const wanted = { default: 'always', always: ['friar@example.org'], never: [stage.romeo.jid] }
  await juliet.setArchivePreferences(wanted)
  assert.deepEqual(await juliet.archivePreferences(), wanted)
  await romeo.sendChat(stage.juliet.jid, 'two')
  await juliet.receives({ kind: 'message', body: 'two' })
  assert.deepEqual(await juliet.archive(), ['one'])
  assert.deepEqual(await romeo.archive(), ['one', 'two'])
})
