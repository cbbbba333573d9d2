import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SlixmppClient, type SlixmppError, withoutSlixmpp } from '../support/slixmpp.ts'
import { setStage } from './stage.ts'

const skip = withoutSlixmpp
const ADMIN = 'http://jabber.org/protocol/admin#'

test('slixmpp administers a server by ad-hoc commands', { skip }, async () => {
  await using stage = await setStage({ admin: { jids: ['romeo@im.example.com'] } })
  const { domain } = stage
  await using romeo = await SlixmppClient.connect(stage.romeo)
  const nodes = await romeo.commands(domain)
  assert.ok(nodes.includes(`${ADMIN}add-user`))
  assert.ok(nodes.includes('urn:meerkat:command:session:list'))

  const nurse = `nurse@${domain}`
  const added = await romeo.giveCommand(domain, `${ADMIN}add-user`, {
    accountjid: nurse,
    password: 'Angelica',
    'password-verify': 'Angelica',
  })
  assert.deepEqual([added.status, added.notes], ['completed', []])

  const counted = await romeo.giveCommand(domain, `${ADMIN}get-registered-users-num`)
  assert.equal(counted.values.registeredusersnum, '3')
  const listed = await romeo.giveCommand(domain, `${ADMIN}get-registered-users-list`, {
    max_items: 'none',
  })
  assert.deepEqual(listed.values.registereduserjids, [`juliet@${domain}`, nurse, `romeo@${domain}`])
  const removed = await romeo.giveCommand(domain, `${ADMIN}delete-user`, {
    accountjids: [nurse, `nobody@${domain}`],
  })
  assert.equal(removed.status, 'completed')
  assert.match(String(removed.notes), /^error,nobody@im\.example\.com: there is no account/)

  await assert.rejects(
    romeo.giveCommand(domain, `${ADMIN}add-user`, {
      accountjid: `juliet@${domain}`,
      password: 'x',
      'password-verify': 'x',
    }),
    (error: SlixmppError) => error.condition === 'conflict',
  )
})

test('slixmpp is no administrator unless it is named', { skip }, async () => {
  await using stage = await setStage({ admin: { jids: ['romeo@im.example.com'] } })
  await using juliet = await SlixmppClient.connect(stage.juliet)
  assert.deepEqual(await juliet.commands(stage.domain), [])
  await assert.rejects(
    juliet.giveCommand(stage.domain, `${ADMIN}get-registered-users-num`),
    (error: SlixmppError) => error.condition === 'forbidden',
  )
})
