import type { AuthenticatedStream } from '../../core/session.ts'
import { StreamError } from '../../xmpp/stream-error.ts'
import { failed, handledCountTooHigh, readCount } from '../../xmpp/stream-management.ts'
import type { Element } from '../../xmpp/xml.ts'
import type { ManagedStream } from './managed-stream.ts'
import type { Streams } from './streams.ts'

const BAD_COUNT = 'h is a number below 2^32'

/** What a client says it has got. Throws when it says something else. */
export function countOf(element: Element): number {
  const h = readCount(element.attr('h'))
  if (h === undefined) throw new StreamError('policy-violation', BAD_COUNT)
  return h
}

/**
 * `<resume/>` (XEP-0198 §5): the session takes up the connection of `stream`. Its old one, if it has
 * one still, is told `conflict`. Contacts notice nothing.
 */
export async function resume(
  streams: Streams,
  stream: AuthenticatedStream,
  element: Element,
): Promise<void> {
  const h = readCount(element.attr('h'))
  const id = element.attr('previd')
  if (h === undefined || id === undefined) return stream.write(failed('bad-request'))
  const account = stream.account.full
  const refuse = () => {
    stream.write(failed('item-not-found', streams.handledBefore(id, account)))
  }
  const managed = find(streams, id, account)
  if (managed === undefined) return refuse()
  const { session, unacknowledged } = managed
  using _ = managed.claim()
  do {
    await disconnected(managed)
    await managed.prepare()
    // Another connection may have been quicker.
  } while (session.isConnected)
  // The time may have been up, too.
  if (find(streams, id, account) !== managed || !managed.isDetached) return refuse()
  if (!unacknowledged.covers(h)) return stream.fail(handledCountTooHigh(h, unacknowledged.sent))
  if (stream.giveTo(session)) managed.resume(h)
}

function find(streams: Streams, id: string, account: string): ManagedStream | undefined {
  const managed = streams.find(id, account)
  return managed?.session.isClosed === false ? managed : undefined
}

async function disconnected({ session }: ManagedStream): Promise<void> {
  if (!session.isConnected) return
  await session.disconnect(new StreamError('conflict', 'Resumed on another connection'))
}
