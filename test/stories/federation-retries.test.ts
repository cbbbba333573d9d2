/** Servers that let us in and leave again, whatever they are sent: nothing is sent for ever. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { el } from '../../src/xmpp/xml.ts'
import type { AcceptedPeer } from '../support/listening-peer.ts'
import { greeting, type Stage, setStage } from '../support/peer-stage.ts'
import { acknowledge, SM_NS } from '../support/stream-management.ts'

const SM = el('sm', { xmlns: SM_NS })
const BODY = 'Wherefore art thou Romeo?'

/** Takes connections, each as `visit` does, until the sender is told that it was in vain. */
async function untilReturned(
  { juliet, montague, shown }: Stage,
  visit: (peer: AcceptedPeer) => Promise<void>,
): Promise<number> {
  const returned = juliet.receives({ error: 'remote-server-timeout', body: BODY })
  let isReturned = false
  void returned.then(() => {
    isReturned = true
  })
  let visits = 0
  while (!isReturned) {
    const peer = await Promise.race([montague.next().catch(() => undefined), returned])
    if (peer === undefined || !('acceptsExternal' in peer)) break
    // It may give up at any point.
    await Promise.race([peer.acceptsExternal(shown, SM).then(() => visit(peer)), returned])
    visits++
  }
  await returned
  return visits
}

const PATIENCE = {
  queue_timeout: '2s',
  resume_timeout: '2s',
  retry_delay: '500ms',
  max_retry_delay: '500ms',
} as const

test('a server that takes nothing and closes its stream in order', async () => {
  await using stage = await setStage({ s2s: PATIENCE })
  await stage.juliet.sends(greeting)

  const visits = await untilReturned(stage, async (peer) => {
    await peer.receives({ name: 'enable', ns: SM_NS })
    peer.send(el('enabled', { xmlns: SM_NS }))
    await peer.receives({ body: BODY })
    await peer.leaves()
  })

  assert.ok(visits > 1 && visits < 20, `${visits} connections`)
})

test('a server that was asked to resume in time, and says so later', async () => {
  await using stage = await setStage({ s2s: { resume_timeout: '1s' } })
  const { juliet, montague, shown } = stage
  await juliet.sends(greeting)
  const peer = await montague.next()
  await peer.acceptsExternal(shown, SM)
  await peer.receives({ name: 'enable', ns: SM_NS })
  peer.send(el('enabled', { xmlns: SM_NS, id: 'some-id', resume: 'true' }))
  await peer.receives({ body: BODY })
  await peer.vanishes()

  const again = await montague.next()
  await again.acceptsExternal(shown, SM)
  await again.receives({ name: 'resume', ns: SM_NS })
  // Links are looked over every second.
  await setTimeout(2_500)
  again.send(el('resumed', { xmlns: SM_NS, previd: 'some-id', h: 0 }))

  await again.receives({ body: BODY })
  acknowledge(again, 1)
  await juliet.receivesNothing({ type: 'error' })
})

test('a server that resumes its stream and breaks the connection', async () => {
  await using stage = await setStage({ s2s: PATIENCE })
  await stage.juliet.sends(greeting)

  const visits = await untilReturned(stage, async (peer) => {
    const wish = await peer.receives({ ns: SM_NS })
    if (wish.name === 'enable') {
      peer.send(el('enabled', { xmlns: SM_NS, id: 'some-id', resume: 'true' }))
    } else peer.send(el('resumed', { xmlns: SM_NS, previd: 'some-id', h: 0 }))
    await peer.receives({ body: BODY })
    await peer.vanishes()
  })

  assert.ok(visits > 1 && visits < 20, `${visits} connections`)
})
