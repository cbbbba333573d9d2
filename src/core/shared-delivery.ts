import type { Envelope } from './envelope.ts'

/** What one holder of a message that several have says of it. */
export interface DeliveryShare {
  /** It has arrived. */
  acknowledge(): void
  /**
   * It will not arrive here, where it is `held`. True: nor anywhere else, so that it is to be decided about
   * anew.
   */
  giveBack(held: Envelope): boolean
}

/**
 * One message in the hands of several resources of its account: it has arrived as soon as one of
 * them acknowledged it. One that gives it back speaks for itself only; the last of them decides.
 */
export class SharedDelivery implements DeliveryShare {
  #holders: number
  #hasArrived = false

  /** `holders`: how many resources have it. */
  constructor(holders: number) {
    this.#holders = holders
  }

  /** One more resource has it. */
  join(): void {
    this.#holders++
  }

  acknowledge(): void {
    this.#hasArrived = true
  }

  giveBack(): boolean {
    this.#holders--
    return this.#holders === 0 && !this.#hasArrived
  }
}
