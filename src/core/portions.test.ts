import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseJid } from '../xmpp/jid.ts'
import { Stanza } from '../xmpp/stanza.ts'
import { el } from '../xmpp/xml.ts'
import { Envelope, SERVER } from './envelope.ts'
import { inPortions } from './portions.ts'

const juliet = parseJid('juliet@capulet.example')

test('a lot is returned over several turns, in order, the first at once', async () => {
  const envelopes = Array.from({ length: 100 }, () => {
    const stanza = Stanza.build('message', {}, el('body', {}, 'x'.repeat(10_000)))
    return new Envelope(juliet, juliet, stanza, SERVER)
  })
  const returned: Envelope[] = []

  const done = inPortions(envelopes, (envelope) => returned.push(envelope))
  const atOnce = returned.length
  await done

  assert.ok(atOnce > 0 && atOnce < 50, `${atOnce} at once`)
  assert.deepEqual(returned, envelopes)
})
