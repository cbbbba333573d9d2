import { randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer } from 'node:net'

/** Below what the kernel gives to whoever connects, or listens on any port: from 32768 on Linux. */
const FIRST = 20_000
const END = 32_000

let next = randomInt(FIRST, END)

/**
 * A TCP port for a program that has to be told one. Nobody else is given it as long as this process runs, so
 * it is still free when that program listens, and while that is stopped to be started again.
 */
export async function freePort(host = '127.0.0.1'): Promise<number> {
  for (let tried = FIRST; tried < END; tried++) {
    const port = next
    next = port + 1 < END ? port + 1 : FIRST
    if ((await isClaimed(port)) && (await isFree(host, port))) return port
  }
  throw new Error('no port is free')
}

/** Whoever has the UDP port of this number has the number, among the processes of tests. */
async function isClaimed(port: number): Promise<boolean> {
  const claim = createSocket('udp4').unref()
  try {
    claim.bind({ port, address: '127.0.0.1', exclusive: true })
    await once(claim, 'listening')
    return true
  } catch {
    claim.close()
    return false
  }
}

async function isFree(host: string, port: number): Promise<boolean> {
  const server = createServer().listen({ port, host, exclusive: true })
  try {
    await once(server, 'listening')
  } catch {
    return false
  }
  server.close()
  await once(server, 'close')
  return true
}
