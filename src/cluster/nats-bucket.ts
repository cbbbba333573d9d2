import { JetStreamApiError, type JetStreamClient, type JetStreamManager } from '@nats-io/jetstream'
import { type Bucket, Kvm } from '@nats-io/kv'

/** One creation of the bucket that is the registry. */
export type NatsBucket = {
  readonly kv: Bucket
  /** A revision is the sequence number of JetStream's stream and this. */
  readonly base: number
  /** When NATS made it, as text: another one of the same name was made at another time. */
  readonly created: string
}

type Place = {
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
  const { created, config } = await manager.streams.info(streamOf(name))
  // One of an earlier release does not say where it begins.
  return { kv, base: Number(/\d+$/.exec(config.description ?? '')?.[0] ?? 0), created }
}

/** Whether it is still that one, and not gone or made anew. */
export async function isThere(
  manager: JetStreamManager,
  name: string,
  { created }: NatsBucket,
): Promise<boolean> {
  try {
    return (await manager.streams.info(streamOf(name))).created === created
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === NOT_FOUND) return false
    throw error
  }
}

export function streamOf(bucket: string): string {
  return `KV_${bucket}`
}
