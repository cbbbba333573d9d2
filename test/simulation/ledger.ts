/** What a history must never show. */
export type Breach =
  | 'lost'
  | 'twice'
  | 'disorder'
  | 'unsettled'
  | 'owners'
  | 'unknown'
  | 'tables'
  | 'rows'
  | 'kept'
  | 'late'
  | 'waiting'
  | 'held back'
  | 'not started'
  | 'crashed'

type Sent = {
  readonly to: string
  isAcknowledged: boolean
  isBounced: boolean
  isConfirmed: boolean
  fates: string[]
}

/** What clients have sent and got, as they know it. */
export class Ledger {
  readonly breaches: { readonly breach: Breach; readonly detail: string }[] = []
  readonly sent = new Map<string, Sent>()
  /** By session, then by the sender's session: numbers in the order of getting. */
  readonly #got = new Map<string, Map<string, number[]>>()

  breach(breach: Breach, detail: string): void {
    this.breaches.push({ breach, detail })
  }

  sends(id: string, to: string): void {
    const none = { isAcknowledged: false, isBounced: false, isConfirmed: false }
    this.sent.set(id, { to, ...none, fates: [] })
  }

  acknowledged(id: string): void {
    const sent = this.sent.get(id)
    if (sent !== undefined) sent.isAcknowledged = true
  }

  bounced(id: string): void {
    const sent = this.sent.get(id)
    if (sent !== undefined) sent.isBounced = true
  }

  decided(id: string, fate: string): void {
    this.sent.get(id)?.fates.push(fate)
  }

  confirmed(id: string): void {
    const sent = this.sent.get(id)
    if (sent !== undefined) sent.isConfirmed = true
  }

  got(
    session: string,
    id: string,
    { mayComeAgain, isOrdered }: { readonly mayComeAgain: boolean; readonly isOrdered: boolean },
  ): void {
    const slash = id.indexOf('/')
    // Order is promised for each pair of addresses.
    const from = `${id.slice(0, slash)} ${this.sent.get(id)?.to}`
    const number = Number(id.slice(slash + 1))
    const bySender = this.#got.get(session) ?? new Map<string, number[]>()
    this.#got.set(session, bySender)
    const numbers = bySender.get(from) ?? []
    bySender.set(from, numbers)
    if (numbers.includes(number)) {
      if (!mayComeAgain) this.breach('twice', `${session} got ${id} again`)
    } else if (isOrdered && numbers.some((other) => other > number)) {
      this.breach('disorder', `${session} got ${id} behind ${numbers.at(-1)}`)
    }
    numbers.push(number)
  }

  /** To be called when all is quiet. `stored`: ids of messages that wait for their recipients. */
  checkFates(stored: ReadonlySet<string>): void {
    for (const [id, { to, isAcknowledged, isBounced, isConfirmed, fates }] of this.sent) {
      if (!isAcknowledged || isBounced || isConfirmed || stored.has(id)) continue
      this.breach('lost', `${id} to ${to}: ${fates.join(', ')}`)
    }
  }
}
