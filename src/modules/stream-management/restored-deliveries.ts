import { type Envelope, idOf } from '../../core/envelope.ts'
import { SharedDelivery } from '../../core/shared-delivery.ts'

/**
 * What restored sessions have in their hands together. A message that several of them were given goes
 * back to the route with the last of them; one that has arrived somewhere, never.
 */
export class RestoredDeliveries {
  readonly #byMessage = new Map<string, SharedDelivery>()

  /**
   * The envelope for one more session that had it. `isKept`: a durable copy is there still, so that
   * nobody has it.
   */
  restore(envelope: Envelope, isKept: boolean): Envelope {
    const { notes, to, stanza } = envelope
    const id = stanza.kind === 'message' ? idOf(notes) : undefined
    if (id === undefined) return envelope
    const key = `${to.bare} ${id}`
    const known = this.#byMessage.get(key)
    if (known !== undefined) {
      known.join()
      return envelope.shared(known)
    }
    const delivery = new SharedDelivery(1)
    if (notes.kept !== undefined && !isKept) delivery.acknowledge()
    this.#byMessage.set(key, delivery)
    return envelope.shared(delivery)
  }
}
