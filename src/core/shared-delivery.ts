/**
 * One message in the hands of several resources of its account: it has arrived as soon as one of
 * them acknowledged it. One that gives it back speaks for itself only; the last of them decides.
 */
export class SharedDelivery {
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

  /** A resource will not get it. True: nor does any other, so somebody has to decide about it anew. */
  giveBack(): boolean {
    this.#holders--
    return this.#holders === 0 && !this.#hasArrived
  }
}
