import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { test } from 'node:test'
import { silentLogger } from '../core/log.ts'
import { Connector } from './connector.ts'
import type { OutgoingOwner } from './outgoing-stream.ts'
import { TargetFinder } from './targets.ts'

const OWNER: OutgoingOwner = {
  local: 'capulet.example',
  remote: 'montague.example',
  ledger: undefined,
  onNegotiated() {},
  onOpen() {},
  onResuming() {},
  onNotResumed() {},
  onVerified() {},
  onEnd() {},
}

test('one server is tried however little time is left for it, and why it failed is told', async () => {
  const server = createServer()
  await once(server.listen(0, '127.0.0.1').unref(), 'listening')
  const { address: host, port } = server.address() as AddressInfo
  const overrides = { 'montague.example': { host, port, isDirect: false } }
  const connector = new Connector({
    finder: new TargetFinder({ overrides }),
    connectTimeout: 0,
    log: silentLogger,
    open() {
      throw new Error('connected all the same')
    },
  })

  await assert.rejects(connector.reach(OWNER), Error)
})
