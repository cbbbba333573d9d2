import { connect, type Socket } from 'node:net'
import type { Address } from './targets.ts'

/** How long one address is tried before the next one is too (RFC 8305 §5), milliseconds. */
const HEAD_START = 250

type Destination = {
  readonly host: string
  readonly port: number
  readonly addresses: readonly Address[]
}

/**
 * A TCP connection to the first of the addresses that answers, families in turn (RFC 8305). Rejects
 * with the reason when none does, or when `signal` says so.
 */
export function dial({ host, port, addresses }: Destination, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const [only] = addresses
    const socket = connect({
      host: addresses.length === 1 && only !== undefined ? only.address : host,
      port,
      noDelay: true,
      keepAlive: true,
      autoSelectFamily: true,
      autoSelectFamilyAttemptTimeout: HEAD_START,
      lookup: (_host, _options, answer) => answer(null, [...addresses]),
    })
    const abort = () => socket.destroy(new Error('no answer'))
    const settle = () => {
      signal.removeEventListener('abort', abort)
      socket.off('connect', connected)
      socket.off('error', failed)
      socket.on('error', () => {})
    }
    const connected = () => {
      settle()
      resolve(socket)
    }
    const failed = (error: Error) => {
      settle()
      reject(error)
    }
    signal.addEventListener('abort', abort, { once: true })
    socket.once('connect', connected)
    socket.once('error', failed)
    if (signal.aborted) abort()
  })
}
