import { readFile } from 'node:fs/promises'
import { jetstream, jetstreamManager } from '@nats-io/jetstream'
import {
  connect,
  credsAuthenticator,
  type NatsConnection,
  type NodeConnectionOptions,
} from '@nats-io/transport-node'
import type { Logger } from '../core/log.ts'
import { within } from '../core/within.ts'
import { openBucket } from './nats-bucket.ts'
import { NatsRegistry } from './nats-registry.ts'
import { StreamWriter } from './stream-writer.ts'
import type { Registry, Transport } from './transport.ts'

export type NatsSettings = {
  readonly servers: readonly string[]
  /** Of the cluster: what its subjects and its bucket are called after. */
  readonly name: string
  readonly node: string
  readonly user?: string | undefined
  readonly password?: string | undefined
  readonly token?: string | undefined
  /** A file of credentials, as `nsc` makes them. */
  readonly credentials?: string | undefined
  readonly tls?:
    | {
        readonly ca?: string | undefined
        readonly certificate?: string | undefined
        readonly key?: string | undefined
      }
    | undefined
  /** How many servers of a NATS cluster keep the registry: 1, 3 or 5. */
  readonly replicas: number
}

/** How long a start waits for NATS, milliseconds. */
const CONNECT_TIMEOUT = 10_000
/** And for JetStream. */
const JETSTREAM_TIMEOUT = 20_000
const RECONNECT_WAIT = 250
/** A connection that does not answer for twice that long is dropped. */
const PING_INTERVAL = 1_000
/** How long what was published last may take to leave, milliseconds. */
const DRAIN_TIMEOUT = 2_000

/** Whoever cannot reach NATS does not start: it could not know who is there. */
export async function openNats(
  settings: NatsSettings,
  log: Logger,
): Promise<{ readonly transport: Transport; readonly registry: Registry }> {
  const connection = await connectTo(settings)
  try {
    const { node, replicas } = settings
    const js = jetstream(connection)
    const name = `meerkat-${settings.name}`
    const { place, bucket } = await patiently(async () => {
      const manager = await jetstreamManager(connection)
      const place = { connection, js, manager, name, replicas }
      return { place, bucket: await openBucket(place, 0) }
    })
    const writer = new StreamWriter(connection)
    const registry = new NatsRegistry(bucket, { ...place, node, writer, log })
    await patiently(() => registry.mark())
    const transport = new NatsTransport(connection, settings)
    void follow(connection, log, (isConnected) => {
      transport.isConnected = isConnected
      registry.isConnected = isConnected
      if (!isConnected) return
      registry.onReconnected()
      transport.onReconnected()
    })
    return { transport, registry }
  } catch (cause) {
    await connection.close()
    const reason = isMissing(cause)
      ? `${cause.message}; JetStream must be enabled (nats-server -js)`
      : `JetStream cannot be used: ${cause instanceof Error ? cause.message : cause}`
    throw new Error(`NATS at ${settings.servers.join(', ')}: ${reason}`, { cause })
  }
}

function isMissing(error: unknown): error is Error {
  return error instanceof Error && error.name === 'JetStreamNotEnabled'
}

/** Servers that have just started choose a leader first, and do not answer before. */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  const until = performance.now() + JETSTREAM_TIMEOUT
  while (true) {
    try {
      return await work()
    } catch (error) {
      if (isMissing(error) || performance.now() > until) throw error
      await new Promise((resolve) => setTimeout(resolve, RECONNECT_WAIT))
    }
  }
}

async function connectTo(settings: NatsSettings): Promise<NatsConnection> {
  const { servers, name, node, user, password, token, credentials, tls } = settings
  const options: NodeConnectionOptions = {
    servers: [...servers],
    name: `meerkat ${name} ${node}`,
    maxReconnectAttempts: -1,
    reconnectTimeWait: RECONNECT_WAIT,
    reconnectJitter: 100,
    pingInterval: PING_INTERVAL,
    maxPingOut: 2,
    timeout: CONNECT_TIMEOUT,
    noEcho: true,
    ...(user !== undefined && { user, pass: password ?? '' }),
    ...(token !== undefined && { token }),
    ...(credentials !== undefined && {
      authenticator: credsAuthenticator(await readFile(credentials)),
    }),
    ...(tls !== undefined && {
      tls: {
        ...(tls.ca !== undefined && { caFile: tls.ca }),
        ...(tls.certificate !== undefined && { certFile: tls.certificate }),
        ...(tls.key !== undefined && { keyFile: tls.key }),
      },
    }),
  }
  try {
    return await connect(options)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new Error(`NATS at ${servers.join(', ')} cannot be used: ${reason}`, { cause })
  }
}

async function follow(
  connection: NatsConnection,
  log: Logger,
  onChange: (isConnected: boolean) => void,
): Promise<void> {
  for await (const status of connection.status()) {
    if (status.type === 'disconnect') {
      log.warn('nats_disconnected')
      onChange(false)
    } else if (status.type === 'reconnect') {
      log.info('nats_reconnected')
      onChange(true)
    } else if (status.type === 'error') log.warn('nats_error', { error: status.error })
  }
}

/** Messages between nodes as plain NATS messages: one subject for each node, and one for all. */
class NatsTransport implements Transport {
  isConnected = true
  onMessage: (message: string) => void = () => {}
  onReconnected: () => void = () => {}
  readonly #connection: NatsConnection
  readonly #prefix: string

  constructor(connection: NatsConnection, { name, node }: NatsSettings) {
    this.#connection = connection
    this.#prefix = `meerkat.${name}.`
    for (const subject of [`node.${node}`, 'all']) {
      connection.subscribe(this.#prefix + subject, {
        callback: (error, message) => {
          if (error !== null) return
          const { buffer, byteOffset, byteLength } = message.data
          this.onMessage(Buffer.from(buffer, byteOffset, byteLength).latin1Slice())
        },
      })
    }
  }

  send(node: string, message: string): void {
    this.#publish(`node.${node}`, message)
  }

  broadcast(message: string): void {
    this.#publish('all', message)
  }

  #publish(subject: string, message: string): void {
    // What is published while NATS is away would be kept, and come late.
    if (!this.isConnected || this.#connection.isClosed()) return
    this.#connection.publish(this.#prefix + subject, Buffer.from(message, 'latin1'))
  }

  /** What was published has left, unless NATS goes in the midst of it: whoever leaves does not wait for that. */
  async close(): Promise<void> {
    const drained = this.isConnected ? this.#connection.drain() : Promise.resolve()
    await within(DRAIN_TIMEOUT, drained).catch(() => {})
    await this.#connection.close()
  }
}
