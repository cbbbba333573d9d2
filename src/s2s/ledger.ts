import type { Envelope } from '../core/envelope.ts'
import { Handled } from '../core/handled.ts'
import { Unacknowledged } from '../core/unacknowledged.ts'
import { StreamError } from '../xmpp/stream-error.ts'
import { handledCountTooHigh } from '../xmpp/stream-management.ts'

/**
 * - `finished`: the peer has closed its stream in order, and said before what it has got;
 * - `refused`: it has closed it with an error, of which something that it was sent may be the cause;
 * - `lost`: the connection broke.
 */
export type Ending = 'finished' | 'refused' | 'lost'

/** What one stream has sent and received, over as many connections as it takes. */
export class Ledger {
  /** Each with since when it is with us. */
  readonly sent = new Unacknowledged()
  readonly received = new Handled(NOBODY)
  /** By which the peer knows it; `undefined` if it ends with its connection. */
  id: string | undefined
}

const NOBODY = { onAdvance() {}, onFailure() {} }

/** How a stream error ends a stream, from the point of view of what was sent on it. */
export function endingOf(condition: string): Ending {
  if (LEAVING.has(condition)) return 'finished'
  return TEMPORARY.has(condition) ? 'lost' : 'refused'
}

/** No stanza is to blame. */
const LEAVING: ReadonlySet<string> = new Set(['reset', 'see-other-host', 'system-shutdown'])

const TEMPORARY: ReadonlySet<string> = new Set([
  'conflict',
  'connection-timeout',
  'internal-server-error',
  'resource-constraint',
])

/** The peer has got as many. Throws when it claims more than it was sent, or nothing that makes sense. */
export function acknowledge(sent: Unacknowledged, h: number | undefined): void {
  if (h === undefined) throw new StreamError('policy-violation', 'h is no count')
  if (!sent.covers(h)) throw handledCountTooHigh(h, sent.sent)
  sent.acknowledge(h, finish)
}

/** It has arrived. */
export function finish({ settlement }: Envelope): void {
  settlement?.finish()
}
