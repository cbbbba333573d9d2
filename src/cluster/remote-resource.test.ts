import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DOMAIN, startCore } from '../../test/support/core.ts'
import type { Envelope } from '../core/envelope.ts'
import { stop } from '../core/hooks.ts'
import { Outcome } from '../core/outcome.ts'
import { type FullJid, jid } from '../xmpp/jid.ts'
import { Stanza } from '../xmpp/stanza.ts'
import type { HandOff } from './hand-off.ts'
import { RemoteResource } from './remote-resource.ts'

const chat = (id: string) => Stanza.build('message', { type: 'chat', id })
const idOf = ({ stanza }: Envelope) => stanza.id

test('what is stored comes behind what its account’s resource was handed before', async () => {
  await using core = await startCore({ accounts: ['romeo', 'juliet'] })
  const romeo = await core.connect('romeo')
  const juliet = jid('juliet', DOMAIN)
  const balcony = juliet.withResource('balcony') as FullJid
  let underWay: PromiseWithResolvers<void> | undefined
  const all: string[] = []
  const handOff: Pick<HandOff, 'deliver' | 'decided'> = {
    deliver: (_, envelope) => {
      underWay ??= Promise.withResolvers()
      return all.push(`${idOf(envelope)} handed over`) > 0
    },
    decided: () => underWay?.promise,
  }
  // It has no priority: as far as this node knows, it is not available.
  const row = { jid: balcony.full, id: 'hers', node: 'two', epoch: 1, info: romeo.info }
  const resource = new RemoteResource(balcony, row, handOff as HandOff, async () => {})
  core.sessionManager.sessions.add(resource)
  core.hooks.on('offline_message', (_, { envelope }) => {
    all.push(`${idOf(envelope)} stored`)
    return stop(new Outcome('stored', 'test'))
  })

  await core.send(romeo, juliet.full, chat('1'))
  await core.send(romeo, balcony.full, chat('2'))
  const later = [
    core.send(romeo, juliet.full, chat('3')),
    core.send(romeo, balcony.full, chat('4')),
  ]
  assert.deepEqual(all, ['1 stored', '2 handed over'])
  underWay?.resolve()
  underWay = undefined
  await Promise.all(later)
  assert.deepEqual(all.slice(2), ['3 stored', '4 handed over'])
})
