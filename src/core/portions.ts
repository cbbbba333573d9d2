import type { Envelope } from './envelope.ts'

/** What an envelope takes besides its stanza, in octets, roughly. */
const OVERHEAD = 200
/** How much goes back to its senders in one turn of the event loop, in octets. */
const PER_TURN = 256 * 1024

/** What an envelope that waits takes, in octets, roughly. */
export function weigh({ stanza }: Envelope): number {
  return stanza.head.length + stanza.payload.length + OVERHEAD
}

/**
 * Returns envelopes to their senders, a little at a time: those who get them back have limits, too. The
 * first ones at once. Resolves when the last is returned.
 */
export async function inPortions(
  envelopes: readonly Envelope[],
  giveBack: (envelope: Envelope) => void,
): Promise<void> {
  let weight = 0
  for (const envelope of envelopes) {
    if (weight > PER_TURN) {
      weight = 0
      await new Promise(setImmediate)
    }
    weight += weigh(envelope)
    giveBack(envelope)
  }
}
