import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import type { TestContext } from 'node:test'
import { Connection, type ConnectionHandler, NOBODY } from '../../src/connection/connection.ts'
import { Turn } from '../../src/connection/turn.ts'
import { silentLogger } from '../../src/core/log.ts'

const LIMITS = { maxStanzaSize: 10_000, maxDepth: 10, maxAttributes: 10 }

export type Side = { readonly connection: Connection; isClosed: boolean; error?: Error | undefined }

/**
 * Gives whoever connects a connection, all of them in one turn, with a handler that does no more than what `open`
 * returns. The port, and the sides there have been.
 */
export async function acceptConnections<S extends Side>(
  t: TestContext,
  open: (side: Side) => { readonly side: S; readonly handler: Partial<ConnectionHandler> },
  begin: (connection: Connection) => void = () => {},
) {
  const host = { turn: new Turn(), log: silentLogger }
  const sides: S[] = []
  const listener = createServer((socket) => {
    const options = { socket, host, limits: LIMITS, shaper: undefined }
    const accepted = new Connection(options, (connection) => {
      const { side, handler } = open({ connection, isClosed: false })
      sides.push(side)
      const onClosed = (error: Error | undefined) => {
        side.isClosed = true
        side.error = error
      }
      return { ...NOBODY, ...handler, onClosed }
    })
    begin(accepted)
  })
  t.after(() => listener.close())
  await once(listener.listen(0, '127.0.0.1'), 'listening')
  return { port: (listener.address() as AddressInfo).port, sides }
}
