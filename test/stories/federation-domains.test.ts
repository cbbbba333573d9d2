/** Domains that are not ours any more. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Envelope, SERVER } from '../../src/core/envelope.ts'
import { parseJid } from '../../src/xmpp/jid.ts'
import { Stanza } from '../../src/xmpp/stanza.ts'
import { setStage } from '../support/peer-stage.ts'
import { chat } from '../support/stanzas.ts'

test('nothing is opened in the name of a domain that is not ours', async () => {
  await using stage = await setStage()
  const { federation, router } = stage.capulet.server
  const stanza = Stanza.fromElement(chat(undefined, 'Too late'))
  const to = parseJid('romeo@montague.example')

  const outcome = await router.route(new Envelope(parseJid('x@verona.example'), to, stanza, SERVER))

  assert.deepEqual([outcome.fate, outcome.by], ['dropped', 's2s'])
  assert.equal(federation?.linkCount, 0)
  await router.route(new Envelope(parseJid('x@capulet.example'), to, stanza, SERVER))
  assert.equal(federation?.linkCount, 1)
})
