import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseJid } from '../xmpp/jid.ts'
import { Stanza } from '../xmpp/stanza.ts'
import { Envelope, SERVER } from './envelope.ts'

const ROMEO = parseJid('romeo@montague.example/orchard')

test('what a session gives back comes anew, whoever had passed it on before', () => {
  const envelope = new Envelope(ROMEO, ROMEO, Stanza.build('message', {}), SERVER)
  assert.deepEqual(envelope.asRetry().notes, { isRetry: true })
  const passedOn = envelope.noted({ isRetry: true, hops: 2, place: 7 })
  assert.deepEqual(passedOn.asRetry().notes, { isRetry: true, place: 7 })
})
