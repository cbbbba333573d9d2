import assert from 'node:assert/strict'
import { test } from 'node:test'
import { silentLogger } from '../../core/log.ts'
import type { Resource, Session } from '../../core/session.ts'
import { Sessions } from '../../core/sessions.ts'
import { within } from '../../core/within.ts'
import { jid } from '../../xmpp/jid.ts'
import { Relocation } from './relocation.ts'

type Parts = ConstructorParameters<typeof Relocation>[0]

const JULIET = jid('juliet', 'im.example.com', 'balcony')
const STREAM = 'stream'
const ELSEWHERE = { node: 'two', epoch: 1 }

/** One that is let go; `moved` is what its node waits for. */
async function letGo() {
  const sessions = new Sessions()
  const session = { jid: JULIET, id: 'session', isClosed: false, isConnected: false }
  let moved: Promise<unknown> = Promise.resolve()
  const managed = {
    session,
    unacknowledged: [],
    repeats: { waiting: [] },
    handOver: async (letGo: () => void) => {
      letGo()
      return true
    },
  }
  const release = async (_: Session, arrival: Promise<unknown>) => {
    moved = arrival
  }
  const parts = {
    streams: { find: () => managed, letGo() {} },
    restoration: { fetch: async () => false },
    sessions: { sessions, release },
    cluster: { self: { node: 'one', epoch: 1 }, isTakenCareOf: () => false },
    log: silentLogger,
  } as unknown as Parts
  const relocation = new Relocation(parts)
  await relocation.release(STREAM, JULIET.bare, ELSEWHERE)
  const there = { jid: JULIET, id: session.id } as Resource
  return { relocation, sessions, moved, there }
}

test('a session that was let go is waited for until it is known elsewhere', async () => {
  const { sessions, moved, there } = await letGo()
  assert.equal(await within(100, moved), false)
  sessions.add(there)
  assert.equal(await within(1_500, moved), true)
})

test('or has been there meanwhile', async () => {
  const { relocation, moved, there } = await letGo()
  relocation.left({ ...there, id: 'another' })
  assert.equal(await within(100, moved), false)
  relocation.left(there)
  assert.equal(await within(1_500, moved), true)
})
