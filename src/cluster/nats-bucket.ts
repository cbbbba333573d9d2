import { JetStreamApiError, type JetStreamClient, type JetStreamManager } from '@nats-io/jetstream'
import { type Bucket, Kvm } from '@nats-io/kv'
import type { NatsConnection } from '@nats-io/transport-node'

/** One creation of the bucket that is the registry. */
export type NatsBucket = {
  readonly kv: Bucket
  /** A revision is the sequence number of JetStream's stream and this. */
  readonly base: number
  /** Another one of the same name has another one. */
  readonly description: string | undefined
}

type Place = {
  readonly connection: NatsConnection
  readonly js: JetStreamClient
  readonly manager: JetStreamManager
  readonly name: string
  readonly replicas: number
}

const DESCRIPTION = 'Registry of Meerkat; revisions are those of the stream and '
/** `stream name already in use with a different configuration` */
const TAKEN = 10058
/** `stream not found` */
const NOT_FOUND = 10059
/** What others may have seen beyond the newest that is known here. */
const MARGIN = 1_000_000

/**
 * The bucket, made anew if it is not there. A stream that is made anew counts from 1, so the bucket
 * itself says where its revisions begin: behind those of every one before it, by the time in
 * microseconds, or by what is known here if that is more.
 *
 * @param seen the newest revision that is known here
 */
export async function openBucket(place: Place, seen: number): Promise<NatsBucket> {
  const { js, manager, name, replicas } = place
  const base = Math.max(Date.now() * 1_000, seen + MARGIN)
  const description = `${DESCRIPTION}${base}`
  const kvm = new Kvm(js)
  let kv: Bucket
  try {
    kv = (await kvm.create(name, { history: 1, replicas, description })) as Bucket
  } catch (error) {
    if (!(error instanceof JetStreamApiError && error.code === TAKEN)) throw error
    // Another node was quicker.
    kv = (await kvm.open(name)) as Bucket
  }
  const { description: made } = (await manager.streams.info(streamOf(name))).config
  // One of an earlier release does not say where it begins.
  return { kv, base: Number(/\d+$/.exec(made ?? '')?.[0] ?? 0), description: made }
}

/** Whether it is still that one, and not gone or made anew. */
export async function isThere(
  manager: JetStreamManager,
  name: string,
  { description }: NatsBucket,
): Promise<boolean> {
  try {
    return (await manager.streams.info(streamOf(name))).config.description === description
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === NOT_FOUND) return false
    throw error
  }
}

/**
 * Asks the server that leads the stream to let another one do it. One that neither writes nor says so may
 * lead for good: the others hear that it is alive, and nothing else.
 */
export async function moveLeader({
  connection,
  name,
}: Pick<Place, 'connection' | 'name'>): Promise<void> {
  await connection.request(`$JS.API.STREAM.LEADER.STEPDOWN.${streamOf(name)}`)
}

export function streamOf(bucket: string): string {
  return `KV_${bucket}`
}
