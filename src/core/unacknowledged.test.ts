import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { parseJid } from '../xmpp/jid.ts'
import { Stanza } from '../xmpp/stanza.ts'
import { Envelope } from './envelope.ts'
import { Unacknowledged } from './unacknowledged.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

function envelope(number: number): Envelope {
  const jid = parseJid(`user${number}@localhost`)
  return new Envelope(jid, jid, Stanza.build('message'), { kind: 'server' })
}

test('what is acknowledged is let go of, though more is on its way', async () => {
  const unacknowledged = new Unacknowledged()
  const sent = Array.from({ length: 10 }, (_, number) => {
    const one = envelope(number)
    unacknowledged.push(one, 0)
    return new WeakRef(one)
  })
  const told: string[] = []
  unacknowledged.acknowledge(4, ({ to }) => told.push(to.local))
  await turn()
  collect()
  assert.deepEqual(told, ['user0', 'user1', 'user2', 'user3'])
  assert.deepEqual(
    sent.map((one) => one.deref()?.to.local),
    [...Array(4).fill(undefined), 'user4', 'user5', 'user6', 'user7', 'user8', 'user9'],
  )
  assert.deepEqual(
    Array.from(unacknowledged, ([{ to }]) => to.local),
    ['user4', 'user5', 'user6', 'user7', 'user8', 'user9'],
  )
})
